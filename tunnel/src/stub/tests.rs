use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use connector_core::catalogue::{Catalogue, Ports, Resource};
use connector_core::name::DomainName;
use connector_core::time::Moment;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tunnel_proto::dns::{Query, RecordKind};
use tunnel_proto::split_dns::Protection;
use tunnel_proto::synthetic::{SyntheticNames, SyntheticRange};

use super::forward::{read_message, write_message};
use super::*;

#[tokio::test]
async fn protected_names_are_answered_here_and_nobody_else_hears_of_them() {
    let upstream = Upstream::start(Manner::Honest).await;
    let stub = World::start(&[upstream.address]).await;

    for name in [
        "wiki.corp.test",
        "nope.corp.test",
        "corp.test",
        "wiki.corp.test.corp.test",
    ] {
        stub.ask_udp(&question(name)).await;
        stub.ask_tcp(&question(name)).await;
    }
    let udp = addresses(&stub.ask_udp(&question("wiki.corp.test")).await);
    let tcp = addresses(&stub.ask_tcp(&question("wiki.corp.test")).await);
    // The positive control: what is not ours does arrive there.
    stub.ask_udp(&question("example.org")).await;
    stub.ask_tcp(&question("example.org")).await;

    assert_eq!(udp, tcp);
    assert!(stub.range.contains(udp[0]));
    let heard = upstream.heard();
    assert_eq!(heard.len(), 2);
    for message in heard {
        let text = message.to_ascii_lowercase();
        assert!(!text.windows(4).any(|window| window == b"corp"));
        assert!(text.windows(7).any(|window| window == b"example"));
    }
}

#[tokio::test]
async fn a_question_is_passed_on_as_it_is_but_for_its_number() {
    let upstream = Upstream::start(Manner::Honest).await;
    let stub = World::start(&[upstream.address]).await;
    let mut message = question("example.org");
    message[13..20].copy_from_slice(b"eXaMpLe");
    let mut numbers = BTreeSet::new();

    for _ in 0..8 {
        let answer = stub.ask_udp(&message).await;

        assert_eq!(answer[..2], message[..2]);
        assert_eq!(addresses(&answer), [PUBLIC]);
    }

    for heard in upstream.heard() {
        assert_eq!(heard[2..], message[2..]);
        numbers.insert([heard[0], heard[1]]);
    }
    assert!(numbers.len() > 4, "{numbers:?}");
    // One socket for each, prepared before it was used.
    assert_eq!(stub.prepared.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn answers_that_are_forged_are_passed_over_for_the_honest_one() {
    let upstream = Upstream::start(Manner::ForgeriesFirst).await;
    let stub = World::start(&[upstream.address]).await;

    let answer = stub.ask_udp(&question("example.org")).await;

    assert_eq!(addresses(&answer), [PUBLIC]);
}

#[tokio::test]
async fn an_answer_that_leads_to_protected_applications_is_withheld() {
    let upstream = Upstream::start(Manner::Rebinding).await;
    let stub = World::start(&[upstream.address]).await;

    let udp = stub.ask_udp(&question("evil.example")).await;
    let tcp = stub.ask_tcp(&question("evil.example")).await;

    assert_eq!(code(&udp), SERVER_FAILURE);
    assert_eq!(code(&tcp), SERVER_FAILURE);
    assert_eq!(upstream.heard().len(), 2);
}

#[tokio::test]
async fn a_server_that_is_silent_or_gone_is_passed_over() {
    let silent = Upstream::start(Manner::Silent).await;
    let honest = Upstream::start(Manner::Honest).await;
    let gone = Upstream::start(Manner::Silent).await.address;
    let stub = World::start(&[gone, silent.address, honest.address]).await;

    let (udp, tcp) = (question("example.org"), question("example.org"));
    let (udp, tcp) = tokio::join!(stub.ask_udp(&udp), stub.ask_tcp(&tcp));

    assert_eq!(addresses(&udp), [PUBLIC]);
    assert_eq!(addresses(&tcp), [PUBLIC]);
    let asked = silent.heard().len();
    assert_ne!(asked, 0);

    // Who answered is asked first from now on.
    let again = stub.ask_udp(&question("example.org")).await;
    assert_eq!(addresses(&again), [PUBLIC]);
    assert_eq!(silent.heard().len(), asked);
}

#[tokio::test]
async fn a_server_that_refuses_is_passed_over_unless_all_do() {
    let refusing = Upstream::start(Manner::Refusing).await;
    let honest = Upstream::start(Manner::Honest).await;
    let stub = World::start(&[refusing.address]).await;

    let only = stub.ask_udp(&question("example.org")).await;
    stub.upstreams
        .send_replace(vec![refusing.address, honest.address]);
    let udp = stub.ask_udp(&question("example.org")).await;
    let tcp = stub.ask_tcp(&question("example.org")).await;

    assert_eq!(code(&only), REFUSED);
    assert_eq!(addresses(&udp), [PUBLIC]);
    assert_eq!(addresses(&tcp), [PUBLIC]);
}

#[tokio::test]
async fn with_nobody_to_ask_the_program_is_told_at_once() {
    let stub = World::start(&[]).await;
    assert_eq!(
        code(&stub.ask_udp(&question("example.org")).await),
        SERVER_FAILURE
    );

    // Ourselves is nobody.
    stub.upstreams.send_replace(vec![stub.address()]);
    assert_eq!(
        code(&stub.ask_udp(&question("example.org")).await),
        SERVER_FAILURE
    );
    assert_eq!(
        code(&stub.ask_tcp(&question("example.org")).await),
        SERVER_FAILURE
    );
    assert_eq!(stub.prepared.load(Ordering::SeqCst), 0);

    let upstream = Upstream::start(Manner::Honest).await;
    stub.upstreams.send_replace(vec![upstream.address]);
    assert_eq!(
        addresses(&stub.ask_udp(&question("example.org")).await),
        [PUBLIC]
    );
}

#[tokio::test]
async fn a_socket_that_cannot_be_kept_outside_the_tunnel_is_not_used() {
    let upstream = Upstream::start(Manner::Honest).await;
    let stub = World::start(&[upstream.address]).await;
    stub.refuse.store(1, Ordering::SeqCst);

    let answer = stub.ask_udp(&question("example.org")).await;

    assert_eq!(code(&answer), SERVER_FAILURE);
    assert_eq!(upstream.heard().len(), 0);
}

#[tokio::test]
async fn a_truncated_answer_is_passed_on_and_the_whole_one_comes_over_tcp() {
    let upstream = Upstream::start(Manner::Truncating).await;
    let stub = World::start(&[upstream.address]).await;

    let udp = stub.ask_udp(&question("example.org")).await;
    let tcp = stub.ask_tcp(&question("example.org")).await;

    assert_eq!(udp[2] & 0x02, 0x02);
    assert_eq!(tcp[2] & 0x02, 0);
    assert_eq!(addresses(&tcp), [PUBLIC]);
}

#[tokio::test]
async fn more_questions_than_may_be_passed_on_are_refused_and_ours_still_answered() {
    let upstream = Upstream::start(Manner::Silent).await;
    let others = [
        Upstream::start(Manner::Silent).await,
        Upstream::start(Manner::Silent).await,
    ];
    let addresses_of_all = [upstream.address, others[0].address, others[1].address];
    let stub = World::start(&addresses_of_all).await;
    let client = stub.client().await;
    let mut message = question("example.org");
    for number in 0..u16::try_from(MAX_FORWARDS).unwrap() {
        message[..2].copy_from_slice(&number.to_be_bytes());
        client.send(&message).await.unwrap();
        // One after another, so that the kernel's buffers lose none.
        until(|| upstream.heard().len() > usize::from(number)).await;
    }

    let refused = stub.ask_udp(&question("example.org")).await;
    let ours = stub.ask_udp(&question("wiki.corp.test")).await;

    assert_eq!(code(&refused), SERVER_FAILURE);
    assert_eq!(upstream.heard().len(), MAX_FORWARDS);
    assert_eq!(addresses(&ours).len(), 1);
}

#[tokio::test]
async fn messages_that_are_no_question_are_told_so_or_left_alone() {
    let stub = World::start(&[]).await;
    let mut response = question("wiki.corp.test");
    response[2] |= 0x80;
    let mut update = question("wiki.corp.test");
    update[2] |= 0x28;
    let client = stub.client().await;

    for ignored in [&response[..], b"", b"short"] {
        client.send(ignored).await.unwrap();
    }
    // Whatever comes back first is the answer to this.
    client.send(&update).await.unwrap();
    let mut answer = [0; 512];
    let length = soon(client.recv(&mut answer)).await.unwrap();

    assert_eq!(code(&answer[..length]), 4);
    assert_eq!(length, 12);
}

#[tokio::test]
async fn one_connection_carries_many_questions() {
    let upstream = Upstream::start(Manner::Honest).await;
    let stub = World::start(&[upstream.address]).await;
    let mut stream = TcpStream::connect(stub.address()).await.unwrap();

    // Two at once, the second in two pieces.
    let (first, second) = (question("wiki.corp.test"), question("example.org"));
    let framed = |message: &[u8]| [&[0, u8::try_from(message.len()).unwrap()], message].concat();
    let both = [framed(&first), framed(&second)].concat();
    let (start, rest) = both.split_at(both.len() - 7);
    stream.write_all(start).await.unwrap();
    let ours = soon(read_message(&mut stream)).await.unwrap().unwrap();
    stream.write_all(rest).await.unwrap();
    let theirs = soon(read_message(&mut stream)).await.unwrap().unwrap();

    assert!(stub.range.contains(addresses(&ours)[0]));
    assert_eq!(addresses(&theirs), [PUBLIC]);

    // What is no question ends the conversation.
    stream.write_all(&[0, 1, 0]).await.unwrap();
    assert_eq!(soon(read_message(&mut stream)).await.unwrap(), None);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let stub = World::start(&[]).await;
    let message = question("wiki.corp.test");
    let mut connections = Vec::new();
    for _ in 0..streams::MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(stub.address()).await.unwrap();
        write_message(&mut stream, &message).await.unwrap();
        soon(read_message(&mut stream)).await.unwrap().unwrap();
        connections.push(stream);
    }
    let mut waiting = TcpStream::connect(stub.address()).await.unwrap();
    write_message(&mut waiting, &message).await.unwrap();
    let early = timeout(Duration::from_millis(100), waiting.readable()).await;
    assert!(early.is_err(), "it is served although the house is full");

    connections.pop();

    let answer = soon(read_message(&mut waiting)).await.unwrap().unwrap();
    assert_eq!(addresses(&answer).len(), 1);
}

#[tokio::test]
async fn a_stub_that_is_dropped_leaves_its_address() {
    let stub = World::start(&[]).await;
    let address = stub.address();
    let open = TcpStream::connect(address).await.unwrap();

    drop(stub.stub);

    let mut bound = None;
    until(|| {
        bound = std::net::UdpSocket::bind(address).ok();
        bound.is_some()
    })
    .await;
    let mut open = open;
    assert!(matches!(
        soon(read_message(&mut open)).await,
        Ok(None) | Err(_)
    ));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let stub = World::start(&[]).await;
    let (_, upstreams) = watch::channel(vec![]);

    let second = Stub::start(StubConfig {
        listen: vec![stub.address()],
        upstreams,
        prepare: Arc::new(|_| Ok(())),
        names: names().0,
        clock: Moment::default,
    })
    .await;

    let message = second.unwrap_err().to_string();
    assert!(message.contains(&stub.address().to_string()), "{message}");
}

/// A stub with what it needs.
struct World {
    stub: Stub,
    range: SyntheticRange,
    upstreams: watch::Sender<Vec<SocketAddr>>,
    /// How many sockets were prepared.
    prepared: Arc<AtomicUsize>,
    /// Whether sockets cannot be prepared.
    refuse: Arc<AtomicUsize>,
}

impl World {
    async fn start(upstreams: &[SocketAddr]) -> Self {
        let (names, range) = names();
        let (upstreams, receiver) = watch::channel(upstreams.to_vec());
        let (prepared, refuse) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let prepare: Prepare = {
            let (prepared, refuse) = (Arc::clone(&prepared), Arc::clone(&refuse));
            Arc::new(move |_| {
                prepared.fetch_add(1, Ordering::SeqCst);
                match refuse.load(Ordering::SeqCst) {
                    0 => Ok(()),
                    _ => Err(io::ErrorKind::PermissionDenied.into()),
                }
            })
        };
        let config = StubConfig {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            upstreams: receiver,
            prepare,
            names,
            clock: Moment::default,
        };
        Self {
            stub: Stub::start(config).await.unwrap(),
            range,
            upstreams,
            prepared,
            refuse,
        }
    }

    fn address(&self) -> SocketAddr {
        self.stub.addresses()[0]
    }

    async fn client(&self) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(self.address()).await.unwrap();
        socket
    }

    async fn ask_udp(&self, message: &[u8]) -> Vec<u8> {
        let socket = self.client().await;
        socket.send(message).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = soon(socket.recv(&mut answer)).await.unwrap();
        answer.truncate(length);
        answer
    }

    async fn ask_tcp(&self, message: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        write_message(&mut stream, message).await.unwrap();
        soon(read_message(&mut stream)).await.unwrap().unwrap()
    }
}

/// A name server of the machine.
struct Upstream {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    ForgeriesFirst,
    Honest,
    Rebinding,
    Refusing,
    Silent,
    Truncating,
}

impl Upstream {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).await.unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(socket, manner, Arc::clone(&heard)));
        tasks.spawn(serve_tcp(listener, manner, Arc::clone(&heard)));
        Self {
            address,
            heard,
            _tasks: tasks,
        }
    }

    fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve_udp(socket: UdpSocket, manner: Manner, heard: Arc<Mutex<Vec<Vec<u8>>>>) {
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let message = &buffer[..length];
        heard.lock().unwrap().push(message.to_vec());
        if manner == Manner::ForgeriesFirst {
            let forged = answer_of(message, FORGED);
            let mut other_number = forged.clone();
            other_number[1] ^= 1;
            let mut other_name = forged.clone();
            other_name[14] ^= 1;
            stranger.send_to(&forged, client).await.unwrap();
            for answer in [&other_number[..], &other_name, &forged[..20], b""] {
                socket.send_to(answer, client).await.unwrap();
            }
        }
        if let Some(answer) = answer_in(manner, message, Transport::Udp) {
            socket.send_to(&answer, client).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, manner: Manner, heard: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut silent = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let message = read_message(&mut stream).await.unwrap().unwrap();
        heard.lock().unwrap().push(message.clone());
        match answer_in(manner, &message, Transport::Tcp) {
            Some(answer) => write_message(&mut stream, &answer).await.unwrap(),
            None => silent.push(stream),
        }
    }
}

fn answer_in(manner: Manner, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
    match manner {
        Manner::Refusing => {
            let mut answer = answer_of(message, PUBLIC);
            answer[3] |= REFUSED;
            Some(answer)
        }
        Manner::Silent => None,
        Manner::Rebinding => {
            let inside = names().1.device_v4();
            Some(answer_of(message, inside.into()))
        }
        Manner::Truncating if transport == Transport::Udp => {
            let mut answer = answer_of(message, PUBLIC);
            answer[2] |= 0x02;
            answer.truncate(answer.len() - 5);
            Some(answer)
        }
        Manner::ForgeriesFirst | Manner::Honest | Manner::Truncating => {
            Some(answer_of(message, PUBLIC))
        }
    }
}

/// Answers a question, repeating it as it came.
fn answer_of(message: &[u8], address: IpAddr) -> Vec<u8> {
    let query = Query::decode(message).unwrap();
    let mut answer = query.encode_answer(Some(&[address]));
    answer[12..message.len()].copy_from_slice(&message[12..]);
    answer
}

fn names() -> (Arc<Mutex<SplitDns>>, SyntheticRange) {
    let range = SyntheticRange::choose(&[], 1).unwrap();
    let mut names = SplitDns::new(SyntheticNames::new(range, 7));
    let wiki = Resource {
        id: "wiki".into(),
        title: "Wiki".into(),
        names: vec!["wiki.corp.test".parse().unwrap()],
        prefixes: vec![],
        ports: Ports::default(),
        site: "hq".into(),
        lease: Duration::from_secs(300),
    };
    names.set_protection(&Protection {
        catalogue: Arc::new(Catalogue::new(vec![wiki], vec![])),
        concealed: Arc::default(),
        zones: vec!["corp.test".parse().unwrap()],
        outside: BTreeSet::new(),
        v6: false,
    });
    (Arc::new(Mutex::new(names)), range)
}

fn question(name: &str) -> Vec<u8> {
    let name: DomainName = name.parse().unwrap();
    Query {
        id: 0x1234,
        name,
        kind: RecordKind::A,
    }
    .encode()
}

fn addresses(answer: &[u8]) -> Vec<IpAddr> {
    assert_eq!(code(answer), 0);
    tunnel_proto::dns::addresses_in(answer).unwrap()
}

fn code(answer: &[u8]) -> u8 {
    answer[3] & 0x0f
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("nothing came")
}

async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FORGED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66));
const SERVER_FAILURE: u8 = 2;
const REFUSED: u8 = 5;
const DEADLINE: Duration = Duration::from_secs(15);
