//! Requests over a socket, and waiting for what they come to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{BOUND, Laneway};

impl Laneway {
    /// Status and JSON of the answer.
    pub fn ask(&self, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
        ask(self.port, method, path, key, body)
    }
}

pub fn ask(port: u16, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let head = format!(
        "host: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}",
        body.len()
    );
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or_default())
}

pub fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !there() {
        assert!(started.elapsed() < BOUND, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
