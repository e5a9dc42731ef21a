//! A name server, and a web server of a tenant, that say what a test has them say.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::loopback;

const A: u16 = 1;
const TXT: u16 = 16;
const NO_SUCH_NAME: u16 = 3;

type Records = HashMap<(String, u16), Vec<u8>>;

pub struct Dns {
    pub address: SocketAddr,
    records: Arc<Mutex<Records>>,
}

impl Dns {
    pub async fn start() -> Dns {
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        let address = socket.local_addr().unwrap();
        let records: Arc<Mutex<Records>> = Arc::default();
        let known = records.clone();
        tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let answer = answer(&query[..length], &known.lock().unwrap());
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Dns { address, records }
    }

    pub fn text(&self, name: &str, text: &str) {
        let mut data = vec![u8::try_from(text.len()).unwrap()];
        data.extend_from_slice(text.as_bytes());
        self.set(name, TXT, data);
    }

    pub fn address_of(&self, name: &str, address: SocketAddr) {
        let IpAddr::V4(ip) = address.ip() else {
            panic!("an IPv4 address");
        };
        self.set(name, A, ip.octets().to_vec());
    }

    pub fn forget(&self, name: &str) {
        let mut records = self.records.lock().unwrap();
        records.retain(|(known, _), _| known != name);
    }

    fn set(&self, name: &str, kind: u16, data: Vec<u8>) {
        let mut records = self.records.lock().unwrap();
        records.insert((name.to_owned(), kind), data);
    }
}

/// The answer to a query with one question (RFC 1035, 4.1).
fn answer(query: &[u8], records: &Records) -> Vec<u8> {
    let (name, end) = question(query);
    let kind = u16::from_be_bytes([query[end], query[end + 1]]);
    let found = records.get(&(name.clone(), kind));
    let code = if records.keys().any(|(known, _)| *known == name) {
        0
    } else {
        NO_SUCH_NAME
    };
    let mut out = query[..2].to_vec();
    // A response, recursion wanted and there.
    out.extend_from_slice(&(0x8180u16 | code).to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
    out.extend_from_slice(&query[12..end + 4]);
    if let Some(data) = found {
        // The name of the question, its type, the internet, a second to live.
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 1]);
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend_from_slice(data);
    }
    out
}

/// The name that is asked for, and where it ends.
fn question(query: &[u8]) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    (labels.join("."), at + 1)
}

pub struct Files {
    pub address: SocketAddr,
    says: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Files {
    pub async fn start() -> Files {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let files = Files {
            address: listener.local_addr().unwrap(),
            says: Arc::new(Mutex::new((404, String::new()))),
            asked: Arc::default(),
        };
        let (says, asked) = (files.says.clone(), files.asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let (status, text) = says.lock().unwrap().clone();
                let mut request = [0; 2048];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
                assert!(
                    request.starts_with("get /.well-known/laneway-host http/1.1\r\n"),
                    "{request}"
                );
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nlocation: /there\r\ncontent-length: {}\r\n\r\n{text}",
                    text.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        files
    }

    pub fn say(&self, status: u16, text: &str) {
        *self.says.lock().unwrap() = (status, text.to_owned());
    }

    /// How often it was connected to.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
