//! A small HTTP/1.1 client, so that the demo needs no other program: directly,
//! through the proxy in each of its forms, and slowly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// An answer, read to its end.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// The ways through the proxy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Absolute,
    Connect,
    Socks,
}

impl Form {
    /// Returns how curl is told to go this way.
    pub(super) fn curl(self, proxy: SocketAddr) -> String {
        match self {
            Self::Absolute => format!("curl -x http://{proxy}"),
            Self::Connect => format!("curl -p -x http://{proxy}"),
            Self::Socks => format!("curl --socks5-hostname {proxy}"),
        }
    }
}

/// Asks `address` itself; `request` is the line and the headers without the last line end.
pub(super) fn ask(address: SocketAddr, request: &str, body: &str) -> anyhow::Result<Response> {
    let mut reader = BufReader::new(connect(address)?);
    say(
        &mut reader,
        &format!("{request}Connection: close\r\n\r\n{body}"),
    )?;
    read(&mut reader)
}

/// Asks for `path` at a protected application through the proxy.
pub(super) fn ask_through(
    proxy: SocketAddr,
    form: Form,
    host: &str,
    path: &str,
) -> anyhow::Result<Response> {
    let stream = connect(proxy)?;
    match form {
        Form::Absolute => {
            let mut reader = BufReader::new(stream);
            say(
                &mut reader,
                &format!(
                    "GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                ),
            )?;
            read(&mut reader)
        }
        Form::Connect => {
            let mut reader = BufReader::new(stream);
            say(
                &mut reader,
                &format!("CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n"),
            )?;
            let (status, headers) = read_head(&mut reader)?;
            if status != 200 {
                let body = read_body(&mut reader, &headers)?;
                return Ok(Response {
                    status,
                    headers,
                    body,
                });
            }
            get(reader, host, path)
        }
        Form::Socks => get(BufReader::new(socks(stream, host)?), host, path),
    }
}

/// Opens an endless download and hands over the stream after its headers.
pub(super) fn download(
    proxy: SocketAddr,
    host: &str,
    path: &str,
) -> anyhow::Result<BufReader<TcpStream>> {
    let mut reader = BufReader::new(connect(proxy)?);
    say(
        &mut reader,
        &format!("GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    )?;
    let (status, _) = read_head(&mut reader)?;
    ensure!(status == 200, "the download was answered with {status}");
    Ok(reader)
}

/// Sends `text` in one piece.
fn say(reader: &mut BufReader<TcpStream>, text: &str) -> std::io::Result<()> {
    reader.get_mut().write_all(text.as_bytes())
}

fn get(mut reader: BufReader<TcpStream>, host: &str, path: &str) -> anyhow::Result<Response> {
    say(
        &mut reader,
        &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
    )?;
    read(&mut reader)
}

/// SOCKS5 `CONNECT` with a name (RFC 1928).
fn socks(mut stream: TcpStream, host: &str) -> anyhow::Result<TcpStream> {
    stream.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    stream.read_exact(&mut method)?;
    ensure!(
        method == [5, 0],
        "the proxy chose the SOCKS method {method:?}"
    );
    let mut request = vec![5, 1, 0, 3, u8::try_from(host.len())?];
    request.extend(host.as_bytes());
    request.extend(80_u16.to_be_bytes());
    stream.write_all(&request)?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    ensure!(reply[1] == 0, "SOCKS reply {}", reply[1]);
    Ok(stream)
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect(address).with_context(|| format!("Failed to connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    Ok(stream)
}

fn read(reader: &mut impl BufRead) -> anyhow::Result<Response> {
    let (status, headers) = read_head(reader)?;
    let body = read_body(reader, &headers)?;
    Ok(Response {
        status,
        headers,
        body,
    })
}

fn read_head(reader: &mut impl BufRead) -> anyhow::Result<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("{line:?} is no status line"))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            bail!("the answer ended within its headers");
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok((status, headers));
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_body(reader: &mut impl BufRead, headers: &[(String, String)]) -> anyhow::Result<String> {
    let find = |name: &str| {
        headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
    };
    let mut body = Vec::new();
    if let Some((_, length)) = find("content-length") {
        reader.take(length.parse()?).read_to_end(&mut body)?;
    } else if find("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).context("a chunk has no size")?;
            reader.take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else {
        reader.read_to_end(&mut body)?;
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
