//! A registry on loopback that counts requests, holds an answer back, or cuts a connection. Lives as long as the process.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
};

use serde_json::Value;

/// What to do to a blob.
#[derive(Debug, Default)]
struct Behaviour {
    requested: Vec<String>,
    held: Option<String>,
    cut: Option<String>,
}

/// The layout that it serves is read at each request, so what is put there is pushed.
#[derive(Debug, Clone)]
pub struct Registry {
    port: u16,
    layout: PathBuf,
    behaviour: Arc<(Mutex<Behaviour>, Condvar)>,
}

impl Registry {
    /// Serves a layout with one image.
    pub fn serve(layout: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let registry = Self {
            port: listener.local_addr().unwrap().port(),
            layout: layout.to_owned(),
            behaviour: Arc::default(),
        };
        let server = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || drop(server.answer(&stream)));
            }
        });
        registry
    }

    /// The image.
    pub fn reference(&self) -> String {
        format!("docker://localhost:{}/os:v1", self.port)
    }

    /// Lets programs with this home folder use it.
    pub fn allow(&self, home: &Path) {
        let settings = home.join(".config/containers");
        fs::create_dir_all(&settings).unwrap();
        let allowed = format!("[[registry]]\nlocation = \"localhost:{}\"\ninsecure = true\n", self.port);
        fs::write(settings.join("registries.conf"), allowed).unwrap();
    }

    /// Answers requests for this blob only when it is told to go on.
    pub fn hold(&self, blob: &str) {
        self.behaviour.0.lock().unwrap().held = Some(blob.to_owned());
    }

    /// Cuts the connection in the middle of this blob, each time.
    pub fn cut(&self, blob: &str) {
        self.behaviour.0.lock().unwrap().cut = Some(blob.to_owned());
    }

    /// Behaves from now on.
    pub fn go_on(&self) {
        let mut behaviour = self.behaviour.0.lock().unwrap();
        (behaviour.held, behaviour.cut) = (None, None);
        self.behaviour.1.notify_all();
    }

    /// Blobs that were asked for since the last call, in order.
    pub fn requested(&self) -> Vec<String> {
        std::mem::take(&mut self.behaviour.0.lock().unwrap().requested)
    }

    /// Waits until a blob was asked for.
    pub fn wait_for_request(&self, blob: &str) {
        let start = std::time::Instant::now();
        while !self.behaviour.0.lock().unwrap().requested.iter().any(|asked| asked == blob) {
            assert!(start.elapsed() < crate::system::DEADLINE, "{blob} was never asked for");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let path = path.split(' ').next().unwrap_or_default();
        if path == "/v2/" {
            return reply(stream, "200 OK", "json", b"{}", 2);
        }
        let Some((kind, name)) = path.strip_prefix("/v2/os/").and_then(|rest| rest.split_once('/')) else {
            return reply(stream, "404 Not Found", "json", b"{}", 2);
        };
        let digest = if name == "v1" { self.tagged() } else { name.to_owned() };
        let Ok(body) = fs::read(self.layout.join("blobs").join(digest.replace(':', "/"))) else {
            return reply(stream, "404 Not Found", "json", b"{}", 2);
        };
        if method == "HEAD" {
            return reply(stream, "200 OK", "vnd.oci.image.manifest.v1+json", &[], body.len());
        }
        let cut = kind == "blobs" && self.behave(&digest);
        let sent = if cut { &body[..body.len() / 2] } else { &body };
        reply(stream, "200 OK", "vnd.oci.image.manifest.v1+json", sent, body.len())?;
        stream.shutdown(Shutdown::Both)
    }

    /// Notes a request for a blob, waits as long as it is held, and says whether to cut it.
    fn behave(&self, digest: &str) -> bool {
        let mut behaviour = self.behaviour.0.lock().unwrap();
        behaviour.requested.push(digest.to_owned());
        while behaviour.held.as_deref() == Some(digest) {
            behaviour = self.behaviour.1.wait(behaviour).unwrap();
        }
        behaviour.cut.as_deref() == Some(digest)
    }

    fn tagged(&self) -> String {
        let index = fs::read(self.layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    }
}

fn reply(
    mut stream: &TcpStream,
    status: &str,
    kind: &str,
    body: &[u8],
    length: usize,
) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/{kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}
