//! The console, as a person sees it in a browser, and as somebody who means harm asks it.
//!
//! ```text
//! QUORATE_ACCEPT_PICTURES=1   write what is seen to docs/pictures
//! ```

mod accept;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use accept::browser::{Browser, are_pictures_wanted, keep_picture};
use accept::terminal::Terminal;
use accept::wire::{Exchange, ask};
use accept::{Cluster, Options, free_addr};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// A key that is markup, and would be heard of if anybody took it for such.
const HOSTILE: &str = "<img src=x onerror=\"document.title='taken over'\">";
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// So many members with consoles, and where those are.
fn start(size: usize) -> (Cluster, Vec<SocketAddr>) {
    let flags = ["--console", "--bcrypt-cost=4"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::prepare(size, &Options { flags });
    let mut consoles = Vec::new();
    for member in &mut cluster.members {
        let place = free_addr();
        member.replace_flag("listen-metrics-urls", &format!("http://{place}"));
        member.spawn();
        consoles.push(place);
    }
    for member in &mut cluster.members {
        member.wait_until_ready();
    }
    (cluster, consoles)
}

fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// Makes a call of a member's gateway, which must succeed.
fn call(member: SocketAddr, path: &str, body: &Value) -> Value {
    let (code, text) = ask(member, &format!("POST /v3/{path}"), "", body.to_string().as_bytes());
    assert_eq!(code, 200, "{path} {body}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

fn put(member: SocketAddr, key: &str, value: &str) {
    call(member, "kv/put", &json!({ "key": base64(key), "value": base64(value) }));
}

fn limits(rate: u32, burst: u32) -> String {
    json!({ "rate": rate, "burst": burst, "unit": "second" }).to_string()
}

/// Keys as a small company has them; the history of one of them.
fn fill(member: SocketAddr) {
    for (service, port) in [("billing", 8301), ("checkout", 8302), ("search", 8303)] {
        for zone in ["a", "b"] {
            let at = json!({ "address": format!("10.0.{zone}.7:{port}"), "weight": 10 });
            put(member, &format!("services/{service}/{zone}"), &at.to_string());
        }
    }
    for (rate, burst) in [(100, 20), (100, 50), (250, 50)] {
        put(member, "config/limits", &limits(rate, burst));
    }
    call(member, "kv/deleterange", &json!({ "key": base64("config/limits") }));
    put(member, "config/limits", &limits(400, 80));
    put(member, "config/region", "eu-central");
    put(member, "config/greeting", "Grüße, \u{202e}olleh");
    put(member, "flags/new-checkout", "on");
    put(member, HOSTILE, "<script>document.title='taken over'</script>");
    call(member, "kv/put", &json!({ "key": base64("blobs/key"), "value": "/wABAv8=" }));
}

fn grant(member: SocketAddr, id: u64, key: &str) {
    call(member, "lease/grant", &json!({ "ID": id.to_string(), "TTL": "600" }));
    let put = json!({ "key": base64(key), "value": base64("up"), "lease": id.to_string() });
    call(member, "kv/put", &put);
}

/// Writes now and then until it is dropped. That a busy machine refuses some of it is no matter.
struct Traffic(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Traffic {
    fn start(member: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let writing = std::thread::spawn(move || {
            for turn in 0_u64.. {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                let key = base64(&format!("orders/{:02}", turn % 40));
                let put = json!({ "key": key, "value": base64(&format!("order {turn}")) });
                let range = json!({ "key": base64("config/region") });
                for (path, body) in [("put", put), ("range", range)] {
                    ask(member, &format!("POST /v3/kv/{path}"), "", body.to_string().as_bytes());
                }
                std::thread::sleep(Duration::from_millis(10 + 25 * (turn / 60 % 3)));
            }
        });
        Self(is_over, Some(writing))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if let Some(writing) = self.1.take() {
            let _ = writing.join();
        }
    }
}

/// Keeps what is seen, light and dark.
fn picture(browser: &mut Browser, name: &str) {
    if !are_pictures_wanted() {
        return;
    }
    for scheme in ["dark", "light"] {
        browser.prefer(scheme);
        std::thread::sleep(Duration::from_millis(700));
        let picture = browser.picture();
        keep_picture(&format!("console-{name}-{scheme}.png"), &picture);
    }
}

fn see_overview(browser: &mut Browser, cluster: &mut Cluster) {
    browser.wait_for_text("#tiles", "3 of 3");
    browser.wait_for_text("#members", "leader");
    let rows = browser.eval("document.querySelectorAll('#members tbody tr').length");
    assert_eq!(rows, json!(3));
    for name in ["m0", "m1", "m2"] {
        browser.wait_for_text("#members tbody", name);
    }
    let roles = "[...document.querySelectorAll('#members .chip')].map((it) => it.innerText).sort()";
    assert_eq!(browser.eval(roles), json!(["follower", "follower", "leader"]));
    browser.wait_until(
        "writes to be told",
        "parseFloat(document.querySelector('#charts .number').innerText) > 0",
    );
    if are_pictures_wanted() {
        std::thread::sleep(Duration::from_secs(75));
    }
    picture(browser, "overview");
    // One that is down is told of, and the others are still there.
    cluster.members[2].kill();
    browser.wait_for_text("#tiles", "2 of 3");
    browser.wait_for_text("#members tbody tr:nth-child(3), #members tbody", "down");
    cluster.members[2].start();
    browser.wait_for_text("#tiles", "3 of 3");
}

fn see_keys(browser: &mut Browser) {
    browser.press("#nav a[href='#keys']");
    // Markup is text.
    browser.wait_for_text("#found", HOSTILE);
    assert_eq!(browser.eval("document.querySelectorAll('#keys img, #keys script').length"), 0);
    browser.fill("#prefix", "config/");
    browser.press("#find button");
    browser.wait_for_text("#count", "3");
    browser.press_named("#found button", "config/greeting");
    // What would turn the letters around is shown as what it is.
    browser.wait_for_text("#value", "Grüße, \\u{202e}olleh");
    browser.press_named("#found button", "config/limits");
    browser.wait_for_text("#value", "\"rate\": 400");
    browser.wait_until("history", "document.querySelectorAll('#history li').length === 5");
    let told = "[...document.querySelectorAll('#history .what')].map((it) => it.innerText)";
    let expected = json!(["created", "deleted", "version 3", "version 2", "created"]);
    assert_eq!(browser.eval(told), expected);
    browser.press_named("#history button", "version 3");
    browser.wait_for_text("#value-title", "beside revision");
    browser.wait_for_text("#value .gone", "\"rate\": 100");
    browser.wait_for_text("#value .come", "\"rate\": 250");
    picture(browser, "history");
    // As it was: before the key was deleted for a while there were the same keys but one.
    let revision = browser.eval("document.querySelector('#history button.deleted span').innerText");
    browser.fill("#revision", revision.as_str().expect("a number"));
    browser.press("#find button");
    browser.wait_for_text("#count", "0 at revision");
    browser.fill("#revision", "1000000");
    browser.press("#find button");
    browser.wait_for_text("#find-wrong", "required revision is a future revision");
    browser.fill("#revision", "");
    browser.fill("#prefix", "blobs/");
    browser.press("#find button");
    browser.wait_for_text("#found", "blobs/key");
    browser.press_named("#found button", "blobs/key");
    browser.wait_for_text("#value", "ff 00 01 02 ff");
}

#[test]
fn people_see_members_keys_history_leases_watches_and_alarms() {
    let Some(mut browser) = Browser::start() else { return };
    let (mut cluster, consoles) = start(3);
    let first = cluster.members[0].client;
    fill(first);
    for (id, key) in [(0x51, "services/billing/a/alive"), (0x52, "services/search/b/alive")] {
        grant(first, id, key);
    }
    let traffic = Traffic::start(first);
    browser.resize(1280, 760);
    browser.open(&format!("http://{}/console", consoles[0]));
    see_overview(&mut browser, &mut cluster);
    see_keys(&mut browser);

    browser.press("#nav a[href='#leases']");
    browser.wait_for_text("#lease-table", "services/search/b/alive");
    browser.wait_for_text("#lease-table", "600 s");
    let ids = "[...document.querySelectorAll('#lease-table td.mono')].map((it) => it.innerText)";
    assert_eq!(browser.eval(&format!("{ids}.sort()")), json!(["51", "52"]));
    picture(&mut browser, "leases");

    browser.press("#nav a[href='#watches']");
    browser.press("#follow-go");
    browser.wait_for_text("#events", "orders/");
    // The key that was opened is watched as well, for as long as it is open.
    browser.wait_until(
        "both watches to be counted",
        "[...document.querySelectorAll('#watch-table tbody tr')].some(\
         (row) => row.cells[2]?.innerText === '2')",
    );
    picture(&mut browser, "watches");
    drop(traffic);

    let member = browser.eval("document.querySelector('#watch-table .mono').innerText");
    let member = u64::from_str_radix(member.as_str().expect("an id"), 16).expect("hex");
    let alarm = json!({ "action": "ACTIVATE", "memberID": member.to_string(), "alarm": "NOSPACE" });
    call(first, "maintenance/alarm", &alarm);
    browser.wait_for_text("#alarms", "NOSPACE on m");
    browser.press("#nav a[href='#overview']");
    picture(&mut browser, "alarm");
    assert_ne!(browser.eval("document.title"), "taken over");
    let none: [String; 0] = [];
    assert_eq!(browser.complaints(), none);
}

/// The same cluster on a terminal.
#[test]
fn top_shows_a_cluster_on_a_terminal() {
    let (cluster, _) = start(3);
    let first = cluster.members[0].client;
    fill(first);
    let traffic = Traffic::start(first);
    let program = env!("CARGO_BIN_EXE_quorate");
    let line = format!("{program} ctl --endpoints={} top --interval=1s", cluster.endpoints());
    let Some(terminal) = Terminal::run(20, 112, &line) else {
        accept::skip("no `script`, which makes terminals");
        return;
    };
    accept::wait_for(Duration::from_secs(60), "a cluster that is written to", || {
        let text = terminal.text();
        let parts = ["members 3/3", "NAME", "m0", "m1", "m2", "leader", "follower", "q: quit"];
        parts.iter().all(|part| text.contains(part)) && !text.contains(" 0 writes/s")
    });
    if !are_pictures_wanted() {
        return;
    }
    std::thread::sleep(Duration::from_secs(115));
    let page = terminal.page();
    drop(traffic);
    let Some(mut browser) = Browser::start() else { return };
    browser.resize(1280, 860);
    browser.open(&format!("data:text/html;base64,{}", base64(&page)));
    let size = browser.eval(
        "(() => { const it = document.querySelector('pre').getBoundingClientRect();\
         return [Math.ceil(it.width), Math.ceil(it.height)]; })()",
    );
    let side = |place: usize| u32::try_from(size[place].as_u64().expect("a size")).expect("small");
    browser.resize(side(0), side(1));
    keep_picture("ctl-top.png", &browser.picture());
}

/// Root, and alice who may read below `a/`.
fn set_up_users(member: SocketAddr) {
    for (name, password) in [("root", "rpw"), ("alice", "apw")] {
        call(member, "auth/user/add", &json!({ "name": name, "password": password }));
    }
    call(member, "auth/role/add", &json!({ "name": "root" }));
    call(member, "auth/role/add", &json!({ "name": "app" }));
    let perm = json!({ "permType": "READ", "key": base64("a/"), "range_end": base64("a0") });
    call(member, "auth/role/grant", &json!({ "name": "app", "perm": perm }));
    for (user, role) in [("root", "root"), ("alice", "app")] {
        call(member, "auth/user/grant", &json!({ "user": user, "role": role }));
    }
    call(member, "auth/enable", &json!({}));
}

#[test]
fn with_users_on_there_is_nothing_but_the_login() {
    let Some(mut browser) = Browser::start() else { return };
    let (cluster, consoles) = start(1);
    let server = cluster.members[0].client;
    put(server, "a/1", "for alice");
    put(server, "b/1", "for root");
    set_up_users(server);
    browser.resize(960, 600);
    browser.open(&format!("http://{}/console/", consoles[0]));
    browser.wait_for_text("#login", "Log in");
    let seen = "[...document.querySelectorAll('header, main')].filter((it) => !it.hidden)\
                .map((it) => it.id)";
    assert_eq!(browser.eval(seen), json!(["login"]));
    picture(&mut browser, "login");
    browser.fill("#user", "alice");
    browser.fill("#password", "wrong");
    browser.press("#login button");
    browser.wait_for_text("#login-wrong", "authentication failed");
    browser.fill("#password", "apw");
    browser.press("#login button");
    browser.wait_for_text("#tiles", "1 of 1");
    // Her rights are those she has with any client.
    browser.press("#nav a[href='#keys']");
    browser.wait_for_text("#find-wrong", "etcdserver: permission denied");
    browser.fill("#prefix", "a/");
    browser.press("#find button");
    browser.press_named("#found button", "a/1");
    browser.wait_for_text("#value", "for alice");
    // A token that ends is the end of what is seen.
    browser.press("#leave");
    assert_eq!(browser.eval(seen), json!(["login"]));
    assert_eq!(browser.eval("document.body.textContent.includes('for alice')"), false);
    let none: [String; 0] = [];
    assert_eq!(browser.complaints(), none);
}

/// What a console answers to exactly these lines.
fn say(console: SocketAddr, lines: &str, body: &str) -> (u16, String, String) {
    let head = format!("{lines}\ncontent-length: {}\n\n", body.len()).replace('\n', "\r\n");
    let mut exchange = Exchange::raw(console, &head, body.as_bytes());
    let code = exchange.code(ANSWER_MAX).expect("an answer");
    let body = if exchange.is_chunked() { String::new() } else { exchange.body() };
    (code, exchange.head.clone(), body)
}

/// A call as the page makes it.
fn page_says(console: SocketAddr, path: &str, token: &str, body: &str) -> (u16, String) {
    let lines = format!(
        "POST /console/{path} HTTP/1.1\nhost: {console}\ncontent-type: application/json\n\
         sec-fetch-site: same-origin\norigin: http://{console}{token}"
    );
    let (code, _, body) = say(console, &lines, body);
    (code, body)
}

#[test]
fn nothing_that_changes_anything_is_reached() {
    let (cluster, consoles) = start(1);
    let (server, console) = (cluster.members[0].client, consoles[0]);
    put(server, "a", "1");
    let key = json!({ "key": base64("a"), "value": base64("2") }).to_string();
    for path in [
        "v3/kv/put",
        "v3/kv/deleterange",
        "v3/kv/txn",
        "v3/kv/compaction",
        "v3/lease/grant",
        "v3/lease/revoke",
        "v3/lease/keepalive",
        "v3/cluster/member/remove",
        "v3/maintenance/alarm",
        "v3/maintenance/defragment",
        "v3/auth/enable",
        "v3/auth/user/add",
        "v3/lock/lock",
        "v3beta/kv/put",
        "v3/../v3/kv/put",
        "v3/kv/range/../put",
        "v3/kv/range?/put",
        "%76%33/kv/put",
        "V3/kv/put",
        "/v3/kv/put",
    ] {
        let (code, body) = page_says(console, path, "", &key);
        let is_read = path.contains('?');
        assert_eq!(code, if is_read { 200 } else { 404 }, "{path}: {body}");
    }
    assert_eq!(page_says(console, "v3/kv/range", "", &key).0, 200);
    let kept = call(server, "kv/range", &json!({ "key": base64("a") }));
    assert_eq!(kept["kvs"][0]["value"], json!(base64("1")));
    // The port itself has the gateway nowhere else, and no console where none was asked for.
    assert_eq!(ask(console, "POST /v3/kv/range", "", b"{}").0, 404);
    assert_eq!(ask(server, "GET /console/", "", b"").0, 404);
    // A websocket would carry messages that nobody has looked at.
    let upgrade = format!(
        "GET /console/v3/watch HTTP/1.1\nhost: {console}\nconnection: upgrade\n\
         upgrade: websocket\nsec-websocket-version: 13\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
    );
    assert_eq!(say(console, &upgrade, "").0, 405);
}

#[test]
fn strangers_pages_get_nothing() {
    let (_cluster, consoles) = start(1);
    let console = consoles[0];
    let page = |host: &str| say(console, &format!("GET /console/ HTTP/1.1\nhost: {host}"), "");
    let (code, head, body) = page(&console.to_string());
    assert_eq!(code, 200);
    assert!(body.contains("<title>Quorate</title>"));
    for part in [
        "content-security-policy: default-src 'none'; script-src 'sha256-",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "\r\nx-content-type-options: nosniff",
        "\r\nx-frame-options: deny",
        "\r\nreferrer-policy: no-referrer",
        "\r\ncache-control: no-store",
        "\r\ncross-origin-opener-policy: same-origin",
    ] {
        assert!(head.contains(part), "{part} in {head}");
    }
    assert!(!head.contains("access-control"), "{head}");
    assert_eq!(page("localhost:1234").0, 200);
    // A stranger's name that leads here.
    for host in ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example"] {
        let (code, _, body) = page(host);
        assert_eq!(code, 421, "{body}");
    }
    // A stranger's page that asks us by our name.
    let lines = format!("POST /console/vitals HTTP/1.1\nhost: {console}\n");
    for (more, code) in [
        ("content-type: application/json", 200),
        ("content-type: text/plain", 403),
        ("content-type: application/json\norigin: http://evil.example", 403),
        ("content-type: application/json\nsec-fetch-site: cross-site", 403),
        ("x: y", 403),
    ] {
        let found = say(console, &format!("{lines}{more}"), "{}");
        assert_eq!(found.0, code, "{more}: {}", found.2);
    }
    let preflight = format!("OPTIONS /console/vitals HTTP/1.1\nhost: {console}\norigin: http://a");
    let (code, head, _) = say(console, &preflight, "");
    assert_eq!(code, 405);
    assert!(!head.contains("access-control"), "{head}");
}

#[test]
fn without_a_token_nothing_is_told() {
    let (cluster, consoles) = start(1);
    let (server, console) = (cluster.members[0].client, consoles[0]);
    put(server, "secret", "1");
    set_up_users(server);
    let everything = json!({ "key": "AA==", "range_end": "AA==" }).to_string();
    let create = format!("{{\"create_request\":{everything}}}");
    for (path, body) in [
        ("vitals", "{}"),
        ("v3/kv/range", &everything),
        ("v3/lease/leases", "{}"),
        ("v3/lease/timetolive", "{\"ID\":\"1\"}"),
        ("v3/watch", &create),
    ] {
        for token in ["", "\nauthorization: guess.1", "\nauthorization: "] {
            let (code, body) = page_says(console, path, token, body);
            assert!(
                code == 400 || code == 401 || path == "v3/watch",
                "{path}{token}: {code} {body}"
            );
            assert!(!body.contains("revision"), "{path}{token}: {body}");
        }
    }
    let login = json!({ "name": "root", "password": "rpw" }).to_string();
    let (code, body) = page_says(console, "v3/auth/authenticate", "", &login);
    assert_eq!(code, 200);
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let token = format!("\nauthorization: {}", answer["token"].as_str().expect("a token"));
    assert_eq!(page_says(console, "vitals", &token, "{}").0, 200);
    assert_eq!(page_says(console, "v3/kv/range", &token, &everything).0, 200);
}

#[test]
fn it_is_there_only_when_asked_for() {
    let mut cluster = Cluster::prepare(1, &Options::default());
    let place = free_addr();
    let member = &mut cluster.members[0];
    member.replace_flag("listen-metrics-urls", &format!("http://{place}"));
    member.start();
    for path in ["/console", "/console/", "/console/vitals"] {
        assert_eq!(ask(place, &format!("GET {path}"), "", b"").0, 404, "{path}");
    }
}
