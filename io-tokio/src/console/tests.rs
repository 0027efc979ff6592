use super::*;

fn asked(headers: &[(&str, &str)]) -> bool {
    let mut request = Request::post("/console/vitals");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    is_own_pages(&request.body(()).unwrap())
}

#[test]
fn only_the_own_page_may_ask() {
    const JSON: (&str, &str) = ("content-type", "application/json");
    const HOST: (&str, &str) = ("host", "127.0.0.1:2381");
    assert!(asked(&[HOST, JSON]));
    assert!(asked(&[HOST, JSON, ("origin", "http://127.0.0.1:2381")]));
    assert!(asked(&[HOST, JSON, ("sec-fetch-site", "same-origin")]));
    for refused in [
        &[HOST][..],
        &[HOST, ("content-type", "text/plain")],
        &[HOST, JSON, ("origin", "http://evil.example")],
        &[HOST, JSON, ("origin", "http://127.0.0.1:2382")],
        &[HOST, JSON, ("origin", "null")],
        &[HOST, JSON, ("sec-fetch-site", "cross-site")],
        &[HOST, JSON, ("sec-fetch-site", "same-site")],
        &[HOST, JSON, ("sec-fetch-site", "none")],
    ] {
        assert!(!asked(refused), "{refused:?}");
    }
}

#[test]
fn by_http2_a_host_is_named_elsewhere() {
    let asked = |origin: &str| {
        let request = Request::post("https://db.example:2381/console/vitals");
        let request = request.header("content-type", "application/json").header("origin", origin);
        is_own_pages(&request.body(()).unwrap())
    };
    assert!(asked("https://db.example:2381"));
    assert!(!asked("https://evil.example:2381") && !asked("https://db.example"));
}

#[test]
fn what_is_passed_on_is_a_closed_list() {
    assert_eq!(find("/console/"), Some(Wish::Page));
    assert_eq!(find("/console/vitals"), Some(Wish::Vitals));
    assert_eq!(find("/console/v3/kv/range"), Some(Wish::Call("/v3/kv/range")));
    for unknown in [
        "/console/v3/kv/put",
        "/console/v3/kv/txn",
        "/console/v3/kv/range/",
        "/console/v3beta/kv/range",
        "/console/v3/maintenance/alarm",
        "/console/v3/auth/enable",
        "/console/v3/lease/revoke",
        "/console/../v3/kv/put",
        "/console//v3/kv/range",
        "/v3/kv/range",
    ] {
        assert_eq!(find(unknown), None, "{unknown}");
    }
    assert!(!Console::owns("/consolefoo") && Console::owns("/console"));
}
