//! A proxy between a client and the broker that can cut its connections, and that can keep a `basic.consume` from
//! ever reaching the broker, which is what a quorum queue without a leader looks like.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

#[derive(Default)]
struct Faults {
    connections: Vec<AbortHandle>,
    /// The queue whose consumes are swallowed, and how many more of them.
    swallow: Option<(String, u32)>,
    /// What the broker may not say without its connection being cut.
    cut_at: Option<&'static [u8]>,
    /// Told when clients lose their connections, and the broker does not.
    lost: watch::Sender<u32>,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    faults: Arc<Mutex<Faults>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(broker: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("is bound").port();
        let faults = Arc::new(Mutex::new(Faults::default()));
        let shared = Arc::clone(&faults);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let relay = tokio::spawn(relay(client, broker.clone(), Arc::clone(&shared)));
                shared.lock().expect("not poisoned").connections.push(relay.abort_handle());
            }
        });
        Self { port, faults, accepting }
    }

    /// Cuts every connection there is; new ones are welcome.
    pub(crate) fn cut(&self) {
        for connection in self.faults.lock().expect("not poisoned").connections.drain(..) {
            connection.abort();
        }
    }

    /// Ends every connection for the client alone: the broker's side of it stays open, and is silent.
    pub(crate) fn lose_clients(&self) {
        self.faults.lock().expect("not poisoned").lost.send_modify(|times| *times += 1);
    }

    /// Cuts each connection when the broker sends these bytes over it.
    pub(crate) fn cut_at(&self, bytes: &'static [u8]) {
        self.faults.lock().expect("not poisoned").cut_at = Some(bytes);
    }

    /// Cuts no more.
    pub(crate) fn heal(&self) {
        self.faults.lock().expect("not poisoned").cut_at = None;
    }

    /// Swallows the next `times` requests to consume `queue`.
    pub(crate) fn swallow_consumes(&self, queue: &str, times: u32) {
        self.faults.lock().expect("not poisoned").swallow = Some((queue.to_owned(), times));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn relay(client: TcpStream, broker: String, faults: Arc<Mutex<Faults>>) {
    let Ok(server) = TcpStream::connect(broker).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut greeting = [0; 8];
        from_client.read_exact(&mut greeting).await?;
        to_server.write_all(&greeting).await?;
        loop {
            // A frame: type, channel, length; then its payload and an end mark.
            let mut frame = vec![0; 7];
            from_client.read_exact(&mut frame).await?;
            let length = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]) as usize;
            frame.resize(7 + length + 1, 0);
            from_client.read_exact(&mut frame[7..]).await?;
            if !is_swallowed(&frame, &faults) {
                to_server.write_all(&frame).await?;
            }
        }
    };
    let down = async {
        let mut block = vec![0; 64 << 10];
        loop {
            let read = from_server.read(&mut block).await?;
            let cut_at = faults.lock().expect("not poisoned").cut_at;
            if read == 0
                || cut_at.is_some_and(|bytes| block[..read].windows(bytes.len()).any(|it| it == bytes))
            {
                return Ok(());
            }
            to_client.write_all(&block[..read]).await?;
        }
    };
    let mut lost = faults.lock().expect("not poisoned").lost.subscribe();
    // Whichever side ends first takes the other with it.
    let ended: Option<std::io::Result<()>> = tokio::select! {
        ended = up => Some(ended),
        ended = down => Some(ended),
        _lost = lost.changed() => None,
    };
    if ended.is_none() {
        drop((from_client, to_client));
        std::future::pending::<()>().await;
    }
}

fn is_swallowed(frame: &[u8], faults: &Mutex<Faults>) -> bool {
    const METHOD: u8 = 1;
    const BASIC_CONSUME: [u8; 4] = [0, 60, 0, 20];
    if frame[0] != METHOD || frame[7..11] != BASIC_CONSUME {
        return false;
    }
    // Two reserved bytes, then the queue's name with its length before it.
    let name = &frame[14..14 + usize::from(frame[13])];
    match &mut faults.lock().expect("not poisoned").swallow {
        Some((queue, times)) if queue.as_bytes() == name && *times > 0 => {
            *times -= 1;
            true
        }
        _ => false,
    }
}
