//! A headless Chromium, told what to do through its debugging protocol.
//!
//! ```text
//! QUORATE_ACCEPT_CHROMIUM=path   this one, instead of the first on PATH
//! ```

use std::collections::VecDeque;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, client::client_with_config};

use super::{find_program, skip, wait_for};

/// How long the browser may take to start, or to answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long what is waited for on a page may take.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);
/// Pictures are large.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Its names.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A browser with one page; ended when dropped.
pub(crate) struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    asked: u64,
    /// What it told unasked and nobody has looked at.
    told: VecDeque<Value>,
    _dir: TempDir,
}

impl Browser {
    /// A browser; nothing after saying loudly that there is none.
    pub(crate) fn start() -> Option<Self> {
        let named = env::var_os("QUORATE_ACCEPT_CHROMIUM").map(PathBuf::from);
        let program = named.or_else(|| PROGRAMS.into_iter().find_map(find_program));
        let Some(program) = program else {
            skip("no Chromium: install Debian's chromium, or name one");
            return None;
        };
        let dir = TempDir::with_prefix("browser").expect("a temporary directory");
        let child = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--hide-scrollbars"])
            .args(["--disable-component-update", "--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", dir.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser runs");
        let (port, path) = whereabouts(dir.path());
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the browser listens");
        stream.set_read_timeout(Some(ANSWER_MAX)).expect("a time above zero");
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let url = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = client_with_config(url, stream, Some(config)).expect("a websocket");
        let told = VecDeque::new();
        let mut browser = Self { child, socket, session: String::new(), asked: 0, told, _dir: dir };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let page = self.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let wish = json!({ "targetId": page["targetId"], "flatten": true });
        let session = self.ask("Target.attachToTarget", wish);
        session["sessionId"].as_str().expect("a session").clone_into(&mut self.session);
        for domain in ["Page", "Runtime", "Log"] {
            self.ask(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Calls a method of the protocol.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).expect("the browser listens");
        loop {
            let told = self.hear();
            if told["id"] != json!(self.asked) {
                self.told.push_back(told);
                continue;
            }
            assert!(told["error"].is_null(), "{method}: {}", told["error"]);
            return told["result"].clone();
        }
    }

    fn hear(&mut self) -> Value {
        match self.socket.read() {
            Ok(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
            Ok(_) => Value::Null,
            Err(tungstenite::Error::Io(error)) => panic!("the browser says nothing: {error}"),
            Err(error) => panic!("the browser is gone: {error}"),
        }
    }

    /// Goes to a page.
    pub(crate) fn open(&mut self, url: &str) {
        let answer = self.ask("Page.navigate", json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.wait_until("the page to be there", "document.readyState === 'complete'");
    }

    /// What an expression of its language is worth on the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let wish = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", wish);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true on the page.
    pub(crate) fn wait_until(&mut self, what: &str, expression: &str) {
        let deadline = std::time::Instant::now() + SHOWN_WITHIN;
        while self.eval(&format!("Boolean({expression})")) != json!(true) {
            if std::time::Instant::now() > deadline {
                let text = self.eval("document.body.innerText");
                panic!("{what}: not within {SHOWN_WITHIN:?}; the page says {text}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the visible text of what a selector finds has this in it.
    pub(crate) fn wait_for_text(&mut self, selector: &str, text: &str) {
        let (place, part) = (json!(selector), json!(text));
        let claim = format!("document.querySelector({place})?.innerText.includes({part})");
        self.wait_until(&format!("{selector} to say {text:?}"), &claim);
    }

    /// The visible text of what a selector finds first.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({}).innerText", json!(selector)));
        text.as_str().expect("text").to_owned()
    }

    /// Presses what a selector finds first.
    pub(crate) fn press(&mut self, selector: &str) {
        self.eval(&format!("document.querySelector({}).click()", json!(selector)));
    }

    /// Presses the button that a selector finds and that has this text in it, once it is there.
    pub(crate) fn press_named(&mut self, selector: &str, text: &str) {
        let (place, part) = (json!(selector), json!(text));
        let found = format!(
            "[...document.querySelectorAll({place})].find((it) => it.innerText.includes({part}))"
        );
        self.wait_until(&format!("{selector} that says {text:?}"), &found);
        self.eval(&format!("{found}.click()"));
    }

    /// Types into a field.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        let field = format!("document.querySelector({})", json!(selector));
        self.eval(&format!("({field}.focus(), {field}.select())"));
        self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Shows pages as somebody sees them who likes them dark, or light.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.ask("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// So many points wide and high, each of four dots.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 2, "mobile": false
        });
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// A picture of what is seen, as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let picture = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let text = picture["data"].as_str().expect("a picture");
        BASE64_STANDARD.decode(text).expect("base64")
    }

    /// What went wrong on its pages since this was last asked: exceptions, refusals of policies.
    /// Calls that were refused are no complaint.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // What was told before this answer is heard by then.
        self.eval("0");
        let told = std::mem::take(&mut self.told);
        let is_complaint = |told: &Value| match told["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => {
                let entry = &told["params"]["entry"];
                entry["level"] == "error" && entry["source"] != "network"
            }
            _ => false,
        };
        told.iter()
            .filter(|told| is_complaint(told))
            .map(|told| told["params"].to_string())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Already dead is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a starting browser will be spoken to: its port, and the path there.
fn whereabouts(dir: &Path) -> (u16, String) {
    let mut found = None;
    wait_for(ANSWER_MAX, "the browser to start", || {
        let text = fs::read_to_string(dir.join("DevToolsActivePort")).unwrap_or_default();
        found = text.split_once('\n').map(|(port, path)| (port.to_owned(), path.to_owned()));
        found.as_ref().is_some_and(|(_, path)| !path.is_empty())
    });
    let (port, path) = found.expect("waited for");
    (port.parse().expect("a port"), path.trim_end().to_owned())
}

/// Puts a picture among those of the documentation, if somebody asked for new ones with
/// `QUORATE_ACCEPT_PICTURES=1`.
pub(crate) fn keep_picture(name: &str, picture: &[u8]) {
    if are_pictures_wanted() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
        fs::create_dir_all(&folder).expect("a folder for pictures");
        fs::write(folder.join(name), picture).expect("a picture can be written");
    }
}

/// Whether pictures are kept.
pub(crate) fn are_pictures_wanted() -> bool {
    env::var_os("QUORATE_ACCEPT_PICTURES").is_some_and(|value| value == "1")
}
