//! What a server of tests needs of HTTP. Other crates' tests take it from here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A request's head and body; none where the client has gone.
pub(crate) fn request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some((head, String::from_utf8(body).unwrap()))
}

/// Replies with a status, further headers with their line ends, and a body; the client may be gone.
pub(crate) fn reply(mut stream: &TcpStream, status: u16, headers: &str, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Word\r\ncontent-length: {length}\r\nconnection: close");
    let _ = stream.write_all(format!("{head}\r\n{headers}\r\n{body}").as_bytes());
}
