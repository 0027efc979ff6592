//! What the flags mean together.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_core::config::AutoCompaction;

use super::discovery::{Discovery, SrvNames, check_one_source, discovery, srv_names};
use super::features::{Feature, features};
use super::parse::CliError;
use super::security::{Listening, secure};
use super::table::Flags;
use super::url::{Url, parse_members, parse_urls};
use super::{Called, parse_duration};
use crate::grpc::Patience;
use crate::http::{Access, Listed};
use crate::logging::Rotation;
use crate::memory::LIMIT_MIN;
use crate::spans::{Collector, SAMPLES_MAX};
use crate::tls::Security;
use crate::tokens::TokenKind;

/// The longest election timeout.
const ELECTION_TIMEOUT_MS_MAX: u64 = 50_000;
/// The shortest time between progress notifications.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// That time when nobody says.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// What a server of Go's takes for zeros: time between a client's pings, between the server's, and
/// to answer those.
const KEEPALIVE_MIN_TIME: Duration = Duration::from_secs(300);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(7_200);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The shortest time between the server's pings.
const KEEPALIVE_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Time between two readings of everything stored when nobody says.
const SCRUB_INTERVAL: Duration = Duration::from_secs(24 * 3_600);
/// The store's quota when nobody says.
const QUOTA_BACKEND_BYTES: u64 = 2 << 30;
/// How long a token lives that was given no time.
const TOKEN_TTL: Duration = Duration::from_secs(300);
/// What a request's message may be larger than the request itself.
const MESSAGE_OVERHEAD_BYTES: usize = 512 << 10;

/// Understood settings: every combination that exists is one that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This member's name.
    pub name: String,
    /// Where its data lies.
    pub data_dir: PathBuf,
    /// Where its log lies; below its data if nobody says.
    pub wal_dir: PathBuf,
    /// Client listeners.
    pub listen_client: Vec<Url>,
    /// Listeners of clients that speak HTTP, where those of gRPC have their own.
    pub listen_client_http: Vec<Url>,
    /// Client URLs told to the others.
    pub advertise_client: Vec<Url>,
    /// Peer listeners.
    pub listen_peer: Vec<Url>,
    /// Peer URLs told to the others.
    pub advertise_peer: Vec<Url>,
    /// Further listeners for metrics and health.
    pub listen_metrics: Vec<Url>,
    /// Whether there is a page for people on those.
    pub has_console: bool,
    /// Initial members: name and URLs, as given.
    pub initial_cluster: Vec<(String, Vec<Url>)>,
    /// Whether the cluster starts with this start.
    pub is_new_cluster: bool,
    /// What keeps equal clusters apart.
    pub token: String,
    /// What users get for their passwords.
    pub token_kind: TokenKind,
    /// How long a token that an entry issued lives after its last use.
    pub token_ttl: Duration,
    /// How dear it is to hash a password.
    pub bcrypt_cost: u32,
    /// Whether this member goes on without all others.
    pub is_forced_alone: bool,
    /// Who knows the initial members, if the flags do not name them.
    pub discovery: Option<Discovery>,
    /// Where in DNS they stand, likewise.
    pub srv_names: Option<SrvNames>,
    /// How clients' connections are secured, and those to listeners for metrics.
    pub client_security: Security,
    /// How the other members' are, both ways.
    pub peer_security: Security,
    /// What seems odd about it.
    pub security_remarks: Vec<String>,
    /// One tick of raft's clock.
    pub heartbeat_interval: Duration,
    /// Least time without a leader before an election.
    pub election_timeout: Duration,
    /// Applied entries between two points at which the log may be cut.
    pub snapshot_count: u64,
    /// Entries kept behind such a point.
    pub snapshot_catchup_entries: u64,
    /// Bytes the store may hold; 0 for no limit.
    pub quota_backend_bytes: u64,
    /// Bytes of memory this process may have, if that is limited.
    pub memory_limit: Option<u64>,
    /// What is compacted unasked.
    pub auto_compaction: AutoCompaction,
    /// Largest request.
    pub request_bytes_max: u64,
    /// Most operations in one transaction.
    pub txn_ops_max: usize,
    /// Most streams on one connection.
    pub streams_max: u32,
    /// Whether clients may speak JSON.
    pub has_gateway: bool,
    /// Who may ask by HTTP.
    pub access: Access,
    /// Whether profiles can be taken.
    pub has_profiles: bool,
    /// Time a client must leave between two pings.
    pub keepalive_min_time: Duration,
    /// How often an idle client is asked whether it is there.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// What calls may take before somebody hears of it.
    pub patience: Patience,
    /// How often everything stored is read.
    pub scrub_interval: Duration,
    /// Time between progress notifications.
    pub watch_progress_interval: Duration,
    /// Most learners in the cluster.
    pub learners_max: usize,
    /// Whether changes of the cluster that could cost its quorum are refused.
    pub is_reconfig_strict: bool,
    /// etcd's features, and whether each is on.
    pub features: Vec<(Feature, bool)>,
    /// Whether metrics tell how long calls of each kind take.
    pub has_extensive_metrics: bool,
    /// Where spans of calls go, if anywhere.
    pub collector: Option<Collector>,
    /// The least serious message that is logged.
    pub log_level: LogLevel,
    /// How messages are written.
    pub log_format: LogFormat,
    /// Where to.
    pub log_outputs: Vec<LogOutput>,
    /// When the file among them is turned over, if it is.
    pub log_rotation: Option<Rotation>,
}

impl Settings {
    /// Largest message a client may send.
    pub fn message_bytes_max(&self) -> usize {
        usize::try_from(self.request_bytes_max)
            .unwrap_or(usize::MAX)
            .saturating_add(MESSAGE_OVERHEAD_BYTES)
    }
}

/// How serious a message must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator wants to know.
    Info,
    /// What may become a problem.
    Warn,
    /// What is one.
    Error,
    /// Only what ends the process.
    Fatal,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Fields between tabs.
    Console,
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// Judges the flags together.
pub fn understand(flags: &Flags, called: Called) -> Result<Settings, CliError> {
    check_pace(flags)?;
    check_words(flags)?;
    let advertise_peer = urls("initial-advertise-peer-urls", &flags.initial_advertise_peer_urls)?;
    let (data_dir, wal_dir) = folders(flags, called);
    let (keepalive_interval, keepalive_timeout) = keepalive(flags);
    check_one_source(flags)?;
    let discovery = discovery(flags)?;
    let token = discovery.as_ref().map_or(&flags.initial_cluster_token, |found| &found.token);
    let listen = Listening {
        client: listening("listen-client-urls", &flags.listen_client_urls)?,
        client_http: listening_if("listen-client-http-urls", &flags.listen_client_http_urls)?,
        peer: listening("listen-peer-urls", &flags.listen_peer_urls)?,
        metrics: listening_if("listen-metrics-urls", &flags.listen_metrics_urls)?,
    };
    let secured = secure(flags, &data_dir, &listen)?;
    let log_outputs = log_outputs(&flags.log_outputs)?;
    Ok(Settings {
        name: flags.name.clone(),
        data_dir,
        wal_dir,
        listen_client: listen.client,
        listen_client_http: listen.client_http,
        advertise_client: urls("advertise-client-urls", &flags.advertise_client_urls)?,
        listen_peer: listen.peer,
        listen_metrics: listen.metrics,
        has_console: flags.console,
        client_security: secured.client,
        peer_security: secured.peer,
        security_remarks: secured.remarks,
        initial_cluster: initial_cluster(flags, &advertise_peer)?,
        advertise_peer,
        is_new_cluster: flags.initial_cluster_state == "new",
        token: token.clone(),
        discovery,
        srv_names: srv_names(flags),
        token_kind: token_kind(&flags.auth_token)?,
        token_ttl: or_default(Duration::from_secs(flags.auth_token_ttl), TOKEN_TTL),
        bcrypt_cost: bcrypt_cost(flags.bcrypt_cost),
        is_forced_alone: flags.force_new_cluster,
        heartbeat_interval: Duration::from_millis(flags.heartbeat_interval),
        election_timeout: Duration::from_millis(flags.election_timeout),
        snapshot_count: flags.snapshot_count,
        snapshot_catchup_entries: flags.snapshot_catchup_entries,
        quota_backend_bytes: quota(flags.quota_backend_bytes),
        memory_limit: memory_limit(flags.memory_limit_bytes)?,
        auto_compaction: auto_compaction(flags)?,
        request_bytes_max: flags.max_request_bytes,
        txn_ops_max: usize::try_from(flags.max_txn_ops).unwrap_or(usize::MAX),
        streams_max: flags.max_concurrent_streams,
        has_gateway: flags.enable_grpc_gateway,
        access: access(flags)?,
        has_profiles: flags.enable_pprof || flags.log_level == "debug",
        keepalive_min_time: or_default(flags.grpc_keepalive_min_time, KEEPALIVE_MIN_TIME),
        keepalive_interval,
        keepalive_timeout,
        patience: patience(flags),
        scrub_interval: or_default(flags.corrupt_check_time, SCRUB_INTERVAL),
        watch_progress_interval: progress_interval(flags.watch_progress_notify_interval)?,
        learners_max: usize::try_from(flags.max_learners).unwrap_or(usize::MAX),
        is_reconfig_strict: flags.strict_reconfig_check,
        features: features(&flags.feature_gates)?,
        has_extensive_metrics: flags.metrics == "extensive",
        collector: collector(flags)?,
        log_level: log_level(&flags.log_level)?,
        log_format: log_format(&flags.log_format)?,
        log_rotation: log_rotation(flags, &log_outputs)?,
        log_outputs,
    })
}

/// Where data and log lie.
fn folders(flags: &Flags, called: Called) -> (PathBuf, PathBuf) {
    let data_dir = match flags.data_dir.as_str() {
        "" => called.data_dir(&flags.name),
        given => given.to_owned(),
    };
    let wal_dir = match flags.wal_dir.as_str() {
        "" => Path::new(&data_dir).join("member").join("wal"),
        given => PathBuf::from(given),
    };
    (PathBuf::from(data_dir), wal_dir)
}

/// Costs that bcrypt does not have stand for its default, as in etcd.
fn bcrypt_cost(cost: u64) -> u32 {
    u32::try_from(cost).ok().filter(|cost| (4..=31).contains(cost)).unwrap_or(10)
}

fn check_pace(flags: &Flags) -> Result<(), CliError> {
    let (heartbeat, election) = (flags.heartbeat_interval, flags.election_timeout);
    if heartbeat == 0 {
        return Err(CliError::settings("--heartbeat-interval must be >0 (set to 0ms)"));
    }
    if election == 0 {
        return Err(CliError::settings("--election-timeout must be >0 (set to 0ms)"));
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(CliError::settings(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat}ms]"
        )));
    }
    if election > ELECTION_TIMEOUT_MS_MAX {
        return Err(CliError::settings(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than \
             {ELECTION_TIMEOUT_MS_MAX}ms"
        )));
    }
    Ok(())
}

fn check_words(flags: &Flags) -> Result<(), CliError> {
    one_of("initial-cluster-state", &flags.initial_cluster_state, &["new", "existing"])?;
    one_of("auto-compaction-mode", &flags.auto_compaction_mode, &["periodic", "revision"])?;
    one_of("logger", &flags.logger, &["zap"])?;
    one_of("metrics", &flags.metrics, &["basic", "extensive"])?;
    if flags.name.is_empty() {
        return Err(CliError::settings("--name is empty; give this member a name"));
    }
    if flags.is_given("listen-client-urls") && !flags.is_given("advertise-client-urls") {
        return Err(CliError::settings(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly; \
             give the URLs at which clients reach this member",
        ));
    }
    if flags.console && flags.listen_metrics_urls.is_empty() {
        return Err(CliError::settings(
            "--console is served on --listen-metrics-urls, and there are none; name one, such as \
             http://localhost:2381",
        ));
    }
    Ok(())
}

fn one_of(flag: &str, word: &str, words: &[&str]) -> Result<(), CliError> {
    if words.contains(&word) {
        return Ok(());
    }
    Err(CliError::settings(format!(
        "invalid value {word:?} for flag --{flag}; valid values are: {}",
        words.join(", ")
    )))
}

fn urls(flag: &str, text: &str) -> Result<Vec<Url>, CliError> {
    parse_urls(text).map_err(|error| CliError::settings(format!("error parsing --{flag}: {error}")))
}

/// The same, where there may be none.
fn listening_if(flag: &str, text: &str) -> Result<Vec<Url>, CliError> {
    if text.is_empty() { Ok(Vec::new()) } else { listening(flag, text) }
}

fn listening(flag: &str, text: &str) -> Result<Vec<Url>, CliError> {
    let urls = urls(flag, text)?;
    if let Some(url) = urls.iter().find(|url| !url.is_bindable()) {
        return Err(CliError::settings(format!(
            "--{flag}: expected IP in URL for binding ({url}); give an address of this host, or \
             localhost"
        )));
    }
    Ok(urls)
}

/// Given ones in the order of their names; without any, this member alone.
fn initial_cluster(
    flags: &Flags,
    advertise_peer: &[Url],
) -> Result<Vec<(String, Vec<Url>)>, CliError> {
    if !flags.is_given("initial-cluster") {
        return Ok(vec![(flags.name.clone(), advertise_peer.to_vec())]);
    }
    parse_members(&flags.initial_cluster).map_err(|why| {
        CliError::settings(format!(
            "error setting up initial cluster: {why}; write --initial-cluster \
             name=http://host:port,..."
        ))
    })
}

fn token_kind(word: &str) -> Result<TokenKind, CliError> {
    let kind = TokenKind::parse(word);
    kind.map_err(|error| CliError::settings(format!("--auth-token: {error}")))
}

fn memory_limit(bytes: u64) -> Result<Option<u64>, CliError> {
    match bytes {
        0 => Ok(None),
        LIMIT_MIN.. => Ok(Some(bytes)),
        _ => Err(CliError::settings(format!(
            "--memory-limit-bytes is {bytes}; give {LIMIT_MIN} or more, or 0 for no limit"
        ))),
    }
}

fn quota(bytes: i64) -> u64 {
    match u64::try_from(bytes) {
        Ok(0) => QUOTA_BACKEND_BYTES,
        Ok(bytes) => bytes,
        Err(_) => 0,
    }
}

fn auto_compaction(flags: &Flags) -> Result<AutoCompaction, CliError> {
    let word = flags.auto_compaction_retention.as_str();
    let wrong = |expected: &str| {
        CliError::settings(format!(
            "error parsing --auto-compaction-retention {word:?}: give {expected}"
        ))
    };
    let number = word.parse::<i64>().ok();
    if number.is_some_and(|number| number < 0) {
        return Err(wrong("nothing negative"));
    }
    if flags.auto_compaction_mode == "revision" {
        let kept = number.ok_or_else(|| wrong("a number of revisions"))?;
        return Ok(if kept == 0 { AutoCompaction::Off } else { AutoCompaction::Revisions(kept) });
    }
    let kept = match number {
        Some(hours) => hours.unsigned_abs().checked_mul(3_600).map(Duration::from_secs),
        None => parse_duration(word),
    };
    match kept {
        None => Err(wrong("hours as a number, or a duration such as 30m")),
        Some(Duration::ZERO) => Ok(AutoCompaction::Off),
        Some(kept) => Ok(AutoCompaction::Periodic(kept)),
    }
}

/// Zero is not "never": Go's servers then take values of their own, both of them if one is zero,
/// and none asks more than once a second.
fn keepalive(flags: &Flags) -> (Duration, Duration) {
    let given = (flags.grpc_keepalive_interval, flags.grpc_keepalive_timeout);
    match given.0.is_zero() || given.1.is_zero() {
        true => (KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT),
        false => (given.0.max(KEEPALIVE_INTERVAL_MIN), given.1),
    }
}

fn or_default(given: Duration, default: Duration) -> Duration {
    if given.is_zero() { default } else { given }
}

fn progress_interval(given: Duration) -> Result<Duration, CliError> {
    match given {
        Duration::ZERO => Ok(PROGRESS_INTERVAL),
        short if short < PROGRESS_INTERVAL_MIN => Err(CliError::settings(format!(
            "--watch-progress-notify-interval is too short ({short:?}); give at least 100ms"
        ))),
        given => Ok(given),
    }
}

const fn patience(flags: &Flags) -> Patience {
    let unary = flags.warning_unary_request_duration;
    Patience { apply: flags.warning_apply_duration, unary }
}

fn access(flags: &Flags) -> Result<Access, CliError> {
    let (origins, hosts) = (Listed::parse(&flags.cors), Listed::parse(&flags.host_whitelist));
    let is_origin = |name: &&String| name.starts_with("http://") || name.starts_with("https://");
    let odd = origins.names().find(|name| !is_origin(name)).cloned();
    match odd {
        None => Ok(Access { origins, hosts }),
        Some(name) => Err(CliError::settings(format!(
            "error parsing --cors: {name:?} is no origin; write http://host:port or \
             https://host:port"
        ))),
    }
}

fn collector(flags: &Flags) -> Result<Option<Collector>, CliError> {
    if !flags.enable_distributed_tracing {
        return Ok(None);
    }
    let samples = u32::try_from(flags.distributed_tracing_sampling_rate);
    let samples = samples.ok().filter(|samples| *samples <= SAMPLES_MAX);
    Ok(Some(Collector {
        address: flags.distributed_tracing_address.clone(),
        service_name: flags.distributed_tracing_service_name.clone(),
        instance_id: flags.distributed_tracing_instance_id.clone(),
        samples: samples.ok_or_else(|| {
            CliError::settings(format!(
                "--distributed-tracing-sampling-rate must be a number from 0 to {SAMPLES_MAX}"
            ))
        })?,
    }))
}

fn log_level(word: &str) -> Result<LogLevel, CliError> {
    Ok(match word {
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" => LogLevel::Warn,
        "error" => LogLevel::Error,
        "panic" | "fatal" => LogLevel::Fatal,
        _ => {
            return Err(CliError::settings(format!(
                "unknown log level {word:?}; give --log-level debug, info, warn, error, panic or \
                 fatal"
            )));
        }
    })
}

fn log_format(word: &str) -> Result<LogFormat, CliError> {
    match word {
        "json" => Ok(LogFormat::Json),
        "console" => Ok(LogFormat::Console),
        _ => Err(CliError::settings(format!(
            "unknown log format {word:?}; give --log-format json or console"
        ))),
    }
}

fn log_rotation(flags: &Flags, outputs: &[LogOutput]) -> Result<Option<Rotation>, CliError> {
    if !flags.enable_log_rotation {
        return Ok(None);
    }
    let files = outputs.iter().filter(|output| matches!(output, LogOutput::File(_))).count();
    if files != 1 {
        return Err(CliError::settings(
            "--log-outputs requires a single file path when --log-rotate-config-json is defined",
        ));
    }
    Rotation::parse(&flags.log_rotation_config_json).map(Some).map_err(CliError::settings)
}

fn log_outputs(words: &str) -> Result<Vec<LogOutput>, CliError> {
    let words: Vec<&str> =
        words.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if words.len() > 1 && words.contains(&"default") {
        return Err(CliError::settings(
            "multi logoutput for \"default\" is not supported yet; leave --log-outputs default \
             alone, or name stderr",
        ));
    }
    let outputs: Vec<LogOutput> = words
        .into_iter()
        .map(|word| match word {
            "default" | "stderr" | "/dev/stderr" => LogOutput::Stderr,
            "stdout" | "/dev/stdout" => LogOutput::Stdout,
            path => LogOutput::File(PathBuf::from(path)),
        })
        .collect();
    if outputs.is_empty() {
        return Err(CliError::settings("--log-outputs is empty; give default, stderr or a path"));
    }
    Ok(outputs)
}
