use std::time::Duration;

use quorate_core::config::AutoCompaction;

use super::*;
use crate::client::way::Secure;
use crate::tls::{Allowed, Source};

fn outcome(words: &[&str], variables: &[(&str, &str)]) -> Result<Outcome, CliError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let variables: Vec<(String, String)> =
        variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    parse(&words, variables)
}

fn flags(words: &[&str]) -> Flags {
    match outcome(words, &[]) {
        Ok(Outcome::Run { flags, .. }) => *flags,
        other => panic!("{other:?}"),
    }
}

fn settings(words: &[&str]) -> Settings {
    understand(&flags(words), Called::Quorate).unwrap()
}

fn refusal(words: &[&str]) -> CliError {
    understand(&flags(words), Called::Quorate).unwrap_err()
}

#[test]
fn every_spelling_of_a_value_is_read() {
    for words in [
        &["-name", "x"][..],
        &["--name", "x"],
        &["--name=x"],
        &["-name=x"],
        &["--name=y", "--name", "x"],
        &["--name=x", "--"],
    ] {
        assert_eq!(flags(words).name, "x", "{words:?}");
    }
    assert_eq!(flags(&["--initial-cluster-token", "-a"]).initial_cluster_token, "-a");
    assert_eq!(flags(&["--initial-cluster=a=http://b:1"]).initial_cluster, "a=http://b:1");
    assert_eq!(flags(&["--data-dir="]).data_dir, "");
}

#[test]
fn keep_alive_times_of_zero_are_gos() {
    let seconds = |words: &[&str]| {
        let found = settings(words);
        [found.keepalive_min_time, found.keepalive_interval, found.keepalive_timeout]
            .map(|time| time.as_secs())
    };
    assert_eq!(seconds(&[]), [5, 7_200, 20]);
    let all = ["--grpc-keepalive-min-time=9s", "--grpc-keepalive-interval=10ms"];
    assert_eq!(seconds(&[all[0], all[1], "--grpc-keepalive-timeout=3s"]), [9, 1, 3]);
    assert_eq!(seconds(&[all[1], "--grpc-keepalive-timeout=0s"]), [5, 7_200, 20]);
    let none = ["--grpc-keepalive-min-time=0s", "--grpc-keepalive-interval=0s"];
    assert_eq!(seconds(&none), [300, 7_200, 20]);
}

#[test]
fn a_boolean_takes_its_value_after_an_equals_sign_only() {
    for words in [&["--version"][..], &["-version=true"], &["--version=1"], &["--version=t"]] {
        assert_eq!(outcome(words, &[]), Ok(Outcome::Version), "{words:?}");
    }
    for words in [&["--version=false"][..], &["--version=0"], &["--version=f"]] {
        assert!(!flags(words).version, "{words:?}");
    }
    assert_eq!(outcome(&["--version", "true"], &[]).unwrap_err().code, 1);
    assert_eq!(outcome(&["--version=yes"], &[]).unwrap_err().code, 2);
}

#[test]
fn help_is_asked_for_in_four_ways() {
    for word in ["-h", "--h", "-help", "--help"] {
        assert_eq!(outcome(&[word], &[]), Ok(Outcome::Help));
    }
}

#[test]
fn words_that_are_no_flags_end_the_program() {
    for (words, code, text) in [
        (&["--nope"][..], 2, "flag provided but not defined: -nope"),
        (&["--name"], 2, "flag needs an argument: -name"),
        (&["--=x"], 2, "bad flag syntax: --=x"),
        (&["---name=x"], 2, "bad flag syntax: ---name=x"),
        (
            &["--heartbeat-interval=abc"],
            2,
            "invalid value \"abc\" for flag -heartbeat-interval: give a whole number, zero or more",
        ),
        (&["gateway"], 1, "error verifying flags, \"gateway\" is not a valid flag. See '--help'."),
        (&["--", "x"], 1, "error verifying flags, \"x\" is not a valid flag. See '--help'."),
    ] {
        let error = outcome(words, &[]).unwrap_err();
        assert_eq!((error.code, error.text.as_str()), (code, text));
    }
}

#[test]
fn the_environment_fills_what_the_command_line_left() {
    let found = outcome(
        &["--name=a"],
        &[
            ("ETCD_DATA_DIR", "d"),
            ("ETCD_NAME", ""),
            ("ETCD_VERIFY", "all"),
            ("ETCD_NONSENSE", "1"),
            ("PATH", "/bin"),
        ],
    );
    let Ok(Outcome::Run { flags, warnings }) = found else { panic!("{found:?}") };
    assert_eq!((flags.name.as_str(), flags.data_dir.as_str()), ("a", "d"));
    assert_eq!(warnings, ["unrecognized environment variable ETCD_NONSENSE"]);
}

#[test]
fn a_setting_given_twice_is_refused() {
    let error = outcome(&["--name=a"], &[("ETCD_NAME", "b")]).unwrap_err();
    assert_eq!(error.code, 1);
    assert!(error.text.starts_with(
        "conflicting environment variable is shadowed by corresponding command-line flag"
    ));
    let error = outcome(&[], &[("ETCD_SNAPSHOT_COUNT", "x")]).unwrap_err();
    assert_eq!(error.code, 1);
    assert!(error.text.contains("ETCD_SNAPSHOT_COUNT"));
}

#[test]
fn help_names_every_flag_at_a_lines_start() {
    let text = help(Called::Etcd);
    for flag in table::TABLE {
        let line = format!("\n  --{} '", flag.name);
        assert_eq!(text.matches(&line).count(), 1, "{}", flag.name);
    }
    assert!(text.contains("--data-dir '${name}.etcd'"));
}

#[test]
fn the_programs_name_decides_where_data_lies() {
    for (program, dir) in [
        ("etcd", "default.etcd"),
        ("/usr/bin/etcd", "default.etcd"),
        ("./quorate", "default.quorate"),
        ("etcd-like", "default.quorate"),
    ] {
        let found = understand(&flags(&[]), Called::by(program)).unwrap();
        assert_eq!(found.data_dir.to_str(), Some(dir), "{program}");
    }
}

#[test]
fn defaults_are_etcds() {
    let found = settings(&[]);
    assert_eq!(found.listen_client, [Url::http("localhost", 2379)]);
    assert_eq!(found.quota_backend_bytes, 2 << 30);
    assert_eq!(found.message_bytes_max(), 2 << 20);
    assert_eq!(found.watch_progress_interval, Duration::from_secs(600));
    assert_eq!(found.auto_compaction, AutoCompaction::Off);
    assert_eq!(found.log_outputs, [LogOutput::Stderr]);
}

#[test]
fn the_initial_cluster_follows_the_name_and_the_advertised_urls() {
    let found = settings(&["--name=m1", "--initial-advertise-peer-urls=http://127.0.0.1:12380"]);
    assert_eq!(crate::bootstrap::show(&found.initial_cluster), "m1=http://127.0.0.1:12380");
}

#[test]
fn retention_is_hours_a_duration_or_revisions() {
    for (mode, word, kept) in [
        ("periodic", "1", AutoCompaction::Periodic(Duration::from_secs(3_600))),
        ("periodic", "30m", AutoCompaction::Periodic(Duration::from_secs(1_800))),
        ("periodic", "0", AutoCompaction::Off),
        ("revision", "1000", AutoCompaction::Revisions(1_000)),
    ] {
        let (mode, word) = (
            format!("--auto-compaction-mode={mode}"),
            format!("--auto-compaction-retention={word}"),
        );
        assert_eq!(settings(&[&mode, &word]).auto_compaction, kept);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_with_a_sentence() {
    for (words, text) in [
        (
            &["--listen-client-urls=http://127.0.0.1:1"][..],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            &["--election-timeout=400"],
            "--election-timeout[400ms] should be at least as 5 times as \
             --heartbeat-interval[100ms]",
        ),
        (&["--election-timeout=50001"], "--election-timeout[50001ms] is too long"),
        (&["--heartbeat-interval=0"], "--heartbeat-interval must be >0"),
        (
            &["--listen-peer-urls=http://example.com:1"],
            "expected IP in URL for binding (http://example.com:1)",
        ),
        (&["--listen-peer-urls=http://localhost"], "does not have the form \"host:port\""),
        (&["--listen-peer-urls=http://localhost:1/x"], "URL must not contain a path"),
        (&["--listen-peer-urls=ftp://localhost:1"], "URL scheme must be http"),
        (&["--initial-cluster-state=old"], "valid values are: new, existing"),
        (&["--initial-cluster=a"], "error setting up initial cluster"),
        (&["--auto-compaction-mode=revision", "--auto-compaction-retention=1h"], "revisions"),
        (&["--watch-progress-notify-interval=1ms"], "give at least 100ms"),
        (&["--log-level=loud"], "unknown log level \"loud\""),
        (&["--log-outputs=default,stdout"], "multi logoutput"),
        (&["--logger=capnslog"], "valid values are: zap"),
    ] {
        let error = refusal(words);
        assert_eq!(error.code, 1);
        assert!(error.text.contains(text), "{}", error.text);
    }
}

#[test]
fn durations_are_read_as_go_writes_them() {
    for (word, nanos) in [
        ("0", Some(0)),
        ("100ms", Some(100_000_000)),
        ("1h30m", Some(5_400_000_000_000)),
        ("1.5s", Some(1_500_000_000)),
        (".5s", Some(500_000_000)),
        ("2m0.25s", Some(120_250_000_000)),
        ("3\u{b5}s", Some(3_000)),
        ("", None),
        ("5", None),
        ("-1s", None),
        ("1x", None),
        (".s", None),
        ("1.2.3s", None),
        ("99999999h", None),
    ] {
        assert_eq!(parse_duration(word), nanos.map(Duration::from_nanos), "{word}");
    }
    for (nanos, word) in [
        (0, "0s"),
        (1_200_000, "1.2ms"),
        (250_000_000, "250ms"),
        (1_500_000_000, "1.5s"),
        (90_000_000_000, "1m30s"),
        (7_200_000_000_000, "2h0m0s"),
    ] {
        assert_eq!(units::show_duration(Duration::from_nanos(nanos)), word);
    }
}

#[test]
fn addresses_keep_their_brackets() {
    let url = Url::parse("http://[::1]:2379").unwrap();
    assert_eq!(url, Url::http("::1", 2379));
    assert_eq!(url.to_string(), "http://[::1]:2379");
    assert!(url.is_bindable());
    assert!(Url::parse("http://::1:2379").is_err());
    assert!(Url::parse("http://[::1:2379").is_err());
}

#[test]
fn a_discovery_service_stands_in_for_the_initial_cluster() {
    let token = "--discovery-token=t";
    let found = settings(&[token, "--discovery-endpoints=a:1,http://b:2"]);
    assert_eq!(found.token, "t");
    let service = found.discovery.unwrap();
    assert_eq!(service.endpoints, ["a:1", "http://b:2"]);
    assert_eq!((service.secure, service.user), (Secure::default(), None));
    let named = |user: &str, password: &str| {
        let (user, password) =
            (format!("--discovery-user={user}"), format!("--discovery-password={password}"));
        let words = [token, "--discovery-endpoints=a:1", &user, &password];
        settings(&words).discovery.unwrap().user
    };
    let who = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
    assert_eq!(named("a:b:c", ""), who("a", "b:c"));
    assert_eq!(named("a", "b"), who("a", "b"));
    assert_eq!(named("a:b", "c"), who("a:b", "c"));
    let endpoints = "--discovery-endpoints=a:1";
    for (words, why) in [
        (&[token][..], "both --discovery-token and --discovery-endpoints must be set"),
        (&[endpoints], "both --discovery-token and --discovery-endpoints must be set"),
        (&[token, "--discovery-endpoints=a:1,"], "must not contain empty endpoints"),
        (&[token, endpoints, "--discovery-user=a"], "--discovery-user a has no password"),
        (
            &[token, endpoints, "--discovery-srv=example.org"],
            "multiple discovery or bootstrap flags are set",
        ),
        (
            &[token, endpoints, "--initial-cluster=default=http://a:1"],
            "multiple discovery or bootstrap flags are set",
        ),
        (
            &[token, endpoints, "--initial-cluster-state=existing"],
            "should not be set when joining existing",
        ),
    ] {
        let refusal = refusal(words);
        assert!(refusal.code == 1 && refusal.text.contains(why), "{}", refusal.text);
    }
}

#[test]
fn names_in_dns_stand_in_for_the_initial_cluster() {
    assert_eq!(settings(&["--discovery-srv-name=blue"]).srv_names, None);
    let found = settings(&["--discovery-srv=example.org", "--discovery-srv-name=blue"]);
    let names = SrvNames { domain: "example.org".to_owned(), service_name: "blue".to_owned() };
    assert_eq!(found.srv_names, Some(names));
    assert_eq!(found.token, "etcd-cluster");
    let refusal = refusal(&["--discovery-srv=a", "--initial-cluster=default=http://a:1"]);
    assert!(refusal.text.starts_with("multiple discovery or bootstrap flags are set"));
}

#[test]
fn flags_that_change_nothing_are_taken_with_a_warning_or_refused_with_a_cure() {
    let warnings = |words: &[&str], variables: &[(&str, &str)]| match outcome(words, variables) {
        Ok(Outcome::Run { warnings, .. }) => Ok(warnings),
        Err(error) => Err((error.code, error.text)),
        other => panic!("{other:?}"),
    };
    let said = warnings(&["--max-wals=3", "--pre-vote"], &[("ETCD_MAX_SNAPSHOTS", "1")]).unwrap();
    assert_eq!(said.len(), 3);
    assert!(
        said[0].starts_with("--max-snapshots changes nothing: images of the state"),
        "{said:?}"
    );
    let always = warnings(&["--discovery-fallback=exit"], &[]).unwrap();
    assert_eq!(always, ["--discovery-fallback is as it always is"]);
    let (code, text) = warnings(&["--discovery-fallback=proxy"], &[]).unwrap_err();
    let is_told = text.starts_with("--discovery-fallback \"proxy\" is not served: without its");
    assert_eq!((code, is_told), (1, true));
    assert_eq!(warnings(&["--max-wals=x"], &[]).unwrap_err().0, 2);
    let shadowed = warnings(&["--max-wals=3"], &[("ETCD_MAX_WALS", "1")]).unwrap_err();
    assert!(shadowed.1.contains("shadowed"), "{shadowed:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused_with_a_cure() {
    let rotated = "--enable-log-rotation";
    for (words, why) in [
        (&["--console"][..], "--console is served on --listen-metrics-urls, and there are none"),
        (&["--memory-limit-bytes=1000"], "--memory-limit-bytes is 1000; give 536870912 or more"),
        (&["--cors=a.example"], "error parsing --cors: \"a.example\" is no origin"),
        (&[rotated], "--log-outputs requires a single file path"),
        (&[rotated, "--log-outputs=a,b"], "--log-outputs requires a single file path"),
        (
            &[rotated, "--log-outputs=a", "--log-rotation-config-json={"],
            "improperly formatted log rotation config",
        ),
        (
            &["--enable-distributed-tracing", "--distributed-tracing-sampling-rate=1000001"],
            "--distributed-tracing-sampling-rate must be a number from 0 to 1000000",
        ),
    ] {
        let refusal = refusal(words);
        assert!(refusal.code == 1 && refusal.text.contains(why), "{}", refusal.text);
    }
    let found =
        settings(&["--cors=http://a,https://b:1", "--host-whitelist=x, y", "--log-level=debug"]);
    assert_eq!(found.access.origins.to_string(), "http://a,https://b:1");
    assert_eq!(found.access.hosts.to_string(), "x,y");
    assert!(found.has_profiles && !settings(&[]).has_profiles);
    assert!(settings(&["--distributed-tracing-sampling-rate=-1"]).collector.is_none());
    let rotation = settings(&[rotated, "--log-outputs=stderr,a"]).log_rotation;
    assert_eq!(rotation.map(|rotation| rotation.megabytes_max), Some(100));
}

#[test]
fn of_a_configuration_file_everything_counts_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etcd.yml");
    std::fs::write(&path, "name: filed\nmax-wals: 3\nno-such: 1\n").unwrap();
    let path = path.to_str().unwrap();
    let flag = format!("--config-file={path}");
    for (words, variables) in [
        (&["--name=x", flag.as_str()][..], &[("ETCD_NAME", "y")][..]),
        (&["--name=x"], &[("ETCD_CONFIG_FILE", path)]),
    ] {
        let Ok(Outcome::Run { flags, warnings }) = outcome(words, variables) else { panic!() };
        assert_eq!(flags.name, "filed");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }
    std::fs::write(path, "snapshot-count: many\n").unwrap();
    let error = outcome(&[&flag], &[]).unwrap_err();
    assert_eq!(error.code, 1);
    assert!(error.text.contains("invalid value \"many\" for snapshot-count"), "{error:?}");
    let error = outcome(&["--config-file=/no/such"], &[]).unwrap_err();
    assert!(error.text.contains("cannot read --config-file /no/such"), "{error:?}");
}

#[test]
fn the_page_about_flags_lists_those_that_change_nothing() {
    let page = include_str!("../../../docs/flags.md");
    let mut rows = page.lines().filter(|line| line.starts_with("| `--")).map(str::to_owned);
    let row = |flag: &accepted::Accepted| format!("| `--{}` | {} |", flag.name, flag.why());
    for flag in accepted::ACCEPTED {
        assert_eq!(rows.next(), Some(row(flag)));
    }
    assert_eq!(rows.next(), None);
}

#[test]
fn urls_say_whether_tls_is_spoken_and_where() {
    for (text, is_secure, place) in [
        ("https://[::1]:1", true, Place::Port { host: "::1".to_owned(), port: 1 }),
        ("http://localhost:0", false, Place::Port { host: "localhost".to_owned(), port: 0 }),
        ("unix:///run/q.sock", false, Place::File("/run/q.sock".to_owned())),
        ("unixs://localhost:20001", true, Place::File("localhost:20001".to_owned())),
    ] {
        let url = Url::parse(text).unwrap();
        assert_eq!(url, Url { is_secure, place });
        assert_eq!(url.to_string(), text);
        assert!(url.is_bindable());
    }
    assert!(Url::parse("unix://").unwrap_err().to_string().starts_with("URL names no file"));
    assert!(Url::parse("localhost:1").unwrap_err().to_string().starts_with("URL scheme must be"));
}

const PAIR: [&str; 2] = ["--cert-file=c", "--key-file=k"];
const PEER_PAIR: [&str; 2] = ["--peer-cert-file=c", "--peer-key-file=k"];

#[test]
fn both_kinds_of_connections_are_secured_by_flags_of_their_own() {
    let words = [
        &PAIR[..],
        &PEER_PAIR,
        &["--client-cert-auth", "--trusted-ca-file=a", "--client-crl-file=r"],
        &["--client-cert-allowed-hostname=x,y", "--peer-cert-allowed-cn= m1 ,m2"],
        &["--peer-trusted-ca-file=b", "--peer-client-cert-file=d", "--peer-client-key-file=e"],
        &["--tls-min-version=TLS1.2", "--tls-max-version=TLS1.3"],
    ]
    .concat();
    let found = settings(&words);
    let (client, peer) = (found.client_security, found.peer_security);
    assert_eq!(client.crl, Some(Source::new("client-crl-file", "r")));
    assert!(client.asks_clients && client.must_clients_prove() && !client.checks_addresses);
    let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    assert_eq!(client.allowed, Allowed::Hostnames(names(["x", "y"])));
    assert!(!peer.asks_clients && peer.must_clients_prove() && peer.checks_addresses);
    assert_eq!(peer.allowed, Allowed::CommonNames(names(["m1", "m2"])));
    let shown = peer.client_pair.unwrap();
    assert_eq!(shown.cert.to_string(), "--peer-client-cert-file d");
    assert_eq!(found.security_remarks.len(), 3, "plain URLs: {:?}", found.security_remarks);
}

#[test]
fn a_certificate_that_is_made_is_for_where_one_listens() {
    let words = [
        "--auto-tls",
        "--data-dir=d",
        "--listen-client-urls=https://[::1]:1,https://10.0.0.1:1,https://10.0.0.1:2",
        "--advertise-client-urls=https://10.0.0.1:1",
    ];
    let made = settings(&words).client_security.self_made.unwrap();
    assert_eq!(made.hosts, ["10.0.0.1", "::1"]);
    assert_eq!((made.dir.to_str().unwrap(), made.validity_years), ("d/fixtures/client", 1));
    let given = settings(&[&words[..], &PAIR].concat());
    assert_eq!(given.client_security.self_made, None);
    assert_eq!(given.security_remarks, ["ignoring --auto-tls since certs given"]);
}

#[test]
fn suites_that_are_not_spoken_are_left_out_with_a_remark() {
    let known = "TLS_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    let found = settings(&[&format!("--cipher-suites={known}")]);
    assert_eq!(found.client_security.protocol.suites.unwrap().len(), 1);
    let remark = &found.security_remarks[0];
    assert!(remark.ends_with("spoken: TLS_RSA_WITH_AES_128_GCM_SHA256"), "{remark}");
}

#[test]
fn tls_that_cannot_be_is_refused_with_a_sentence() {
    let advertised = "--advertise-client-urls=https://127.0.0.1:1";
    let old = "--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA";
    for (words, text) in [
        (
            &["--listen-client-urls=https://127.0.0.1:1", advertised][..],
            "TLS key/cert (--cert-file, --key-file) must be provided for url https://127.0.0.1:1",
        ),
        (&["--listen-peer-urls=unixs://p"], "(--peer-cert-file, --peer-key-file) must be provided"),
        (
            &["--listen-metrics-urls=https://127.0.0.1:1"],
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        ),
        (&["--cert-file=c"], "must both be present; give --key-file as well"),
        (&["--peer-client-key-file=c"], "must both be present; give --peer-client-cert-file as"),
        (&["--auto-tls", "--client-cert-auth"], "--auto-tls cannot be combined with"),
        (&["--peer-auto-tls", "--peer-trusted-ca-file=a"], "--peer-auto-tls cannot be combined"),
        (&["--auto-tls", "--self-signed-cert-validity=0"], "it should be greater than 0; give"),
        (
            &["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"],
            "are mutually exclusive; give one of them",
        ),
        (&["--tls-min-version=TLS1.1"], "unexpected TLS version \"TLS1.1\" (must be one of"),
        (&["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"], "is greater than max version"),
        (&["--tls-min-version=TLS1.3", old], "cannot be configured when only TLS1.3 is enabled"),
        (&["--cipher-suites=TLS_NULL"], "unexpected TLS cipher suite \"TLS_NULL\""),
        (&["--tls-max-version=TLS1.2", old], "no suite in --cipher-suites TLS_RSA_WITH_AES_128"),
    ] {
        let error = refusal(words);
        assert_eq!(error.code, 1);
        assert!(error.text.contains(text), "{}", error.text);
    }
}
