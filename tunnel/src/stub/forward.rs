//! Questions on their way to the machine's own name servers and back.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;
use tunnel_proto::dns::{Request, Transport};

use super::Shared;

/// Asks one server after another until one answers; returns its answer with the
/// number that the program chose.
pub(super) async fn forward(
    shared: &Shared,
    request: &Request,
    message: &[u8],
    transport: Transport,
) -> Option<Vec<u8>> {
    let mut refusal = None;
    for upstream in shared.upstreams() {
        let asking = async {
            match transport {
                Transport::Tcp => ask_over_tcp(shared, upstream, request, message).await,
                Transport::Udp => ask_over_udp(shared, upstream, request, message).await,
            }
        };
        let Ok(Ok(answer)) = timeout(PATIENCE, asking).await else {
            continue;
        };
        if is_refusal(&answer) {
            refusal.get_or_insert(answer);
            continue;
        }
        shared.prefer(upstream);
        return with_id(answer, request.id());
    }
    with_id(refusal?, request.id())
}

async fn ask_over_udp(
    shared: &Shared,
    upstream: SocketAddr,
    request: &Request,
    message: &[u8],
) -> io::Result<Vec<u8>> {
    let socket = new_socket(shared, upstream, Type::DGRAM)?;
    let any: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A fresh port for every question; the kernel chooses it at random.
    socket.bind(&any.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    // From here on the kernel drops what others send, and tells if nobody listens there.
    socket.connect(upstream).await?;

    let id = random_id()?;
    let question = with_id(message.to_vec(), id).ok_or(io::ErrorKind::InvalidInput)?;
    socket.send(&question).await?;
    let mut answer = vec![0; usize::from(request.payload())];
    loop {
        let length = socket.recv(&mut answer).await?;
        if let Some(answer) = answer.get(..length)
            && request.is_answered_by(answer, id)
        {
            return Ok(answer.to_vec());
        }
    }
}

async fn ask_over_tcp(
    shared: &Shared,
    upstream: SocketAddr,
    request: &Request,
    message: &[u8],
) -> io::Result<Vec<u8>> {
    let socket = new_socket(shared, upstream, Type::STREAM)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut stream = socket.connect(upstream).await?;

    let id = random_id()?;
    let question = with_id(message.to_vec(), id).ok_or(io::ErrorKind::InvalidInput)?;
    write_message(&mut stream, &question).await?;
    let answer = read_message(&mut stream)
        .await?
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    if !request.is_answered_by(&answer, id) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(answer)
}

/// Reads one message of a stream (RFC 7766, section 8); `None` at its end.
pub(super) async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..]).await?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// Writes one message into a stream, at once with its length.
pub(super) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    stream.write_all(&framed).await
}

fn new_socket(shared: &Shared, upstream: SocketAddr, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM {
        Protocol::TCP
    } else {
        Protocol::UDP
    };
    let socket = Socket::new(Domain::for_address(upstream), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    (shared.prepare)(&socket)?;
    Ok(socket)
}

/// Tells answers after which the next server may know better: SERVFAIL and REFUSED.
fn is_refusal(answer: &[u8]) -> bool {
    answer
        .get(3)
        .is_some_and(|flags| matches!(flags & 0x0f, 2 | 5))
}

/// Gives a message another number.
fn with_id(mut message: Vec<u8>, id: u16) -> Option<Vec<u8>> {
    message.get_mut(..2)?.copy_from_slice(&id.to_be_bytes());
    Some(message)
}

fn random_id() -> io::Result<u16> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(u16::from_be_bytes(id))
}

/// How long one server may take: programs ask again after five seconds, and by
/// then the second one should have answered.
const PATIENCE: Duration = Duration::from_secs(2);
