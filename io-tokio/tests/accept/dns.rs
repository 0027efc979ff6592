//! A name server on loopback, which knows records of the kind SRV: every one leads to a port of
//! `localhost`.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Ttl};
use domain::rdata::Srv;

/// How often it looks whether it is needed.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Ports, by what leads to them.
type Records = Mutex<BTreeMap<String, Vec<u16>>>;

/// It answers until it is dropped.
pub(crate) struct NameServer {
    addr: SocketAddr,
    records: Arc<Records>,
    is_over: Arc<AtomicBool>,
}

impl NameServer {
    /// One that knows nothing yet.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(LOOK_INTERVAL)).expect("a socket");
        let addr = socket.local_addr().expect("a bound socket");
        let (records, is_over) = (Arc::<Records>::default(), Arc::<AtomicBool>::default());
        let (known, is_done) = (records.clone(), is_over.clone());
        std::thread::spawn(move || {
            let mut asked = [0; 4096];
            while !is_done.load(Ordering::Relaxed) {
                let Ok((bytes, from)) = socket.recv_from(&mut asked) else { continue };
                let answer = answer(&asked[..bytes], &known);
                socket.send_to(&answer, from).expect("loopback");
            }
        });
        Self { addr, records, is_over }
    }

    /// Lets a name lead to these ports; to none, and nobody knows it.
    pub(crate) fn put(&self, name: &str, ports: &[u16]) {
        self.records.lock().expect("no panic").insert(name.to_owned(), ports.to_vec());
    }

    /// What tells a program to ask this one.
    pub(crate) fn variable(&self) -> (String, String) {
        (quorate_io_tokio::srv::SERVER.to_owned(), self.addr.to_string())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn answer(asked: &[u8], records: &Records) -> Vec<u8> {
    let asked = Message::from_octets(asked).expect("a message");
    let question = asked.sole_question().expect("a question");
    let name = question.qname().to_string();
    let known = records.lock().expect("no panic");
    let ports = known.get(&name).filter(|ports| !ports.is_empty());
    let rcode = if ports.is_some() { Rcode::NOERROR } else { Rcode::NXDOMAIN };
    let mut answer =
        MessageBuilder::new_vec().start_answer(&asked, rcode).expect("room for an answer");
    let localhost: Name<Vec<u8>> = "localhost".parse().expect("a name");
    for port in ports.into_iter().flatten() {
        let record = Srv::new(0, 0, *port, localhost.clone());
        answer.push((question.qname(), Ttl::from_secs(0), record)).expect("room for a record");
    }
    answer.finish()
}
