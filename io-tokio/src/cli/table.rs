//! Every flag, declared once.

/// How a flag's word becomes a value.
pub(super) trait Word: Sized {
    /// Whether the flag may stand without a value.
    const IS_BOOLEAN: bool = false;
    /// Whether it takes a duration.
    const IS_DURATION: bool = false;

    /// Reads the word; the error says what was expected.
    fn read(word: &str) -> Result<Self, &'static str>;
}

impl Word for String {
    fn read(word: &str) -> Result<Self, &'static str> {
        Ok(word.to_owned())
    }
}

impl Word for bool {
    const IS_BOOLEAN: bool = true;

    fn read(word: &str) -> Result<Self, &'static str> {
        match word {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err("true or false"),
        }
    }
}

impl Word for u64 {
    fn read(word: &str) -> Result<Self, &'static str> {
        word.parse().map_err(|_| "a whole number, zero or more")
    }
}

impl Word for u32 {
    fn read(word: &str) -> Result<Self, &'static str> {
        word.parse().map_err(|_| "a whole number from 0 to 4294967295")
    }
}

impl Word for i64 {
    fn read(word: &str) -> Result<Self, &'static str> {
        word.parse().map_err(|_| "a whole number")
    }
}

impl Word for std::time::Duration {
    const IS_DURATION: bool = true;

    fn read(word: &str) -> Result<Self, &'static str> {
        super::parse_duration(word).ok_or("a duration such as 100ms or 1h30m")
    }
}

/// Where a flag stands in the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// One member.
    Member,
    /// The group.
    Clustering,
    /// Who is let in.
    Security,
    /// Who may do what.
    Auth,
    /// What a member does unasked.
    Maintenance,
    /// What it tells about itself.
    Logging,
    /// Where its time goes.
    Profiling,
    /// Where spans of calls go.
    Tracing,
    /// The rest.
    Other,
}

impl Section {
    /// All of them, as they are printed.
    pub const ALL: [Self; 9] = [
        Self::Member,
        Self::Clustering,
        Self::Security,
        Self::Auth,
        Self::Maintenance,
        Self::Logging,
        Self::Profiling,
        Self::Tracing,
        Self::Other,
    ];
}

/// A flag, as it is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Its value when nobody gives one.
    pub default: &'static str,
    /// Whether it may stand without a value.
    pub is_boolean: bool,
    /// Whether it takes a duration.
    pub is_duration: bool,
    /// Where the help text has it.
    pub section: Section,
    /// What it does.
    pub help: &'static str,
}

impl Flag {
    /// The variable that may stand for it.
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

/// The variable that may stand for the flag of that name.
pub(super) fn variable(name: &str) -> String {
    format!("ETCD_{}", name.to_uppercase().replace('-', "_"))
}

macro_rules! flags {
    ($($section:ident { $($name:literal => $field:ident: $kind:ty = $default:literal,
        $help:literal;)* })*) => {
        /// The flags' values, each of its own type; what they mean together is
        /// [`Settings`](super::Settings).
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Flags {
            $($(#[doc = $help] pub $field: $kind,)*)*
            pub(super) given: std::collections::BTreeSet<&'static str>,
        }

        /// All flags, as they are printed.
        pub(super) const TABLE: &[Flag] = &[$($(Flag {
            name: $name,
            default: $default,
            is_boolean: <$kind as Word>::IS_BOOLEAN,
            is_duration: <$kind as Word>::IS_DURATION,
            section: Section::$section,
            help: $help,
        },)*)*];

        impl Default for Flags {
            fn default() -> Self {
                Self {
                    $($($field: <$kind as Word>::read($default)
                        .expect("the table's defaults are readable"),)*)*
                    given: std::collections::BTreeSet::new(),
                }
            }
        }

        impl Flags {
            /// Sets a flag of the table; the error says what was expected.
            pub(super) fn set(&mut self, flag: &Flag, word: &str) -> Result<(), &'static str> {
                match flag.name {
                    $($($name => self.$field = Word::read(word)?,)*)*
                    _ => return Err("a flag of the table"),
                }
                self.given.insert(flag.name);
                Ok(())
            }
        }
    };
}

flags! {
    Member {
        "name" => name: String = "default",
            "Human-readable name of this member.";
        "data-dir" => data_dir: String = "",
            "Directory of this member's data; named after the member if empty.";
        "wal-dir" => wal_dir: String = "",
            "Directory of the log; below --data-dir if empty.";
        "snapshot-count" => snapshot_count: u64 = "10000",
            "Applied entries between two points at which the log may be cut.";
        "snapshot-catchup-entries" => snapshot_catchup_entries: u64 = "5000",
            "Entries kept behind such a point for slow followers.";
        "heartbeat-interval" => heartbeat_interval: u64 = "100",
            "Milliseconds between heartbeats.";
        "election-timeout" => election_timeout: u64 = "1000",
            "Milliseconds without a leader before an election.";
        "listen-peer-urls" => listen_peer_urls: String = "http://localhost:2380",
            "URLs to listen on for the other members.";
        "listen-client-urls" => listen_client_urls: String = "http://localhost:2379",
            "URLs to listen on for clients: gRPC and HTTP.";
        "listen-client-http-urls" => listen_client_http_urls: String = "",
            "URLs to listen on for clients' HTTP; --listen-client-urls is gRPC's alone then.";
        "listen-metrics-urls" => listen_metrics_urls: String = "",
            "Further URLs to listen on for metrics and health.";
        "console" => console: bool = "false",
            "Serve a page for people below /console/ on --listen-metrics-urls: it only reads.";
        "quota-backend-bytes" => quota_backend_bytes: i64 = "0",
            "Bytes the store may hold; 0 for 2 GiB, negative for no limit.";
        "memory-limit-bytes" => memory_limit_bytes: u64 = "0",
            "Memory close to which writes and large reads are refused; 0 for no limit.";
        "max-txn-ops" => max_txn_ops: u64 = "128",
            "Most operations in one transaction.";
        "max-request-bytes" => max_request_bytes: u64 = "1572864",
            "Largest request in bytes.";
        "max-concurrent-streams" => max_concurrent_streams: u32 = "4294967295",
            "Most streams a client may have open on one connection.";
        "enable-grpc-gateway" => enable_grpc_gateway: bool = "true",
            "Serve the client API as JSON over HTTP as well, below /v3/.";
        "grpc-keepalive-min-time" => grpc_keepalive_min_time: std::time::Duration = "5s",
            "Time a client must leave between two pings; 0s for 5 minutes.";
        "grpc-keepalive-interval" => grpc_keepalive_interval: std::time::Duration = "2h0m0s",
            "How often an idle client is asked whether it is there; 0s for 2 hours.";
        "grpc-keepalive-timeout" => grpc_keepalive_timeout: std::time::Duration = "20s",
            "How long it may take to answer before its connection is closed; 0s for 20 seconds.";
    }
    Clustering {
        "initial-advertise-peer-urls" => initial_advertise_peer_urls: String
            = "http://localhost:2380",
            "This member's peer URLs as the other members reach them.";
        "advertise-client-urls" => advertise_client_urls: String = "http://localhost:2379",
            "This member's client URLs as clients reach them.";
        "initial-cluster" => initial_cluster: String = "default=http://localhost:2380",
            "Members to start the cluster with: name=URL, separated by commas.";
        "initial-cluster-state" => initial_cluster_state: String = "new",
            "'new' for a cluster that starts now, 'existing' to join a running one.";
        "initial-cluster-token" => initial_cluster_token: String = "etcd-cluster",
            "A word that keeps clusters with equal URLs apart.";
        "discovery-token" => discovery_token: String = "",
            "The cluster's name in a discovery service, which is an etcd that runs already.";
        "discovery-endpoints" => discovery_endpoints: String = "",
            "That service's endpoints, separated by commas; in place of --initial-cluster.";
        "discovery-dial-timeout" => discovery_dial_timeout: std::time::Duration = "2s",
            "How long connecting to the discovery service may take.";
        "discovery-request-timeout" => discovery_request_timeout: std::time::Duration = "5s",
            "How long one request to the discovery service may take.";
        "discovery-keepalive-time" => discovery_keepalive_time: std::time::Duration = "2s",
            "How often the discovery service is asked whether it is there.";
        "discovery-keepalive-timeout" => discovery_keepalive_timeout: std::time::Duration = "6s",
            "How long it may take to answer before the connection is closed.";
        "discovery-insecure-transport" => discovery_insecure_transport: bool = "true",
            "Speak TLS to the discovery service only if an endpoint or another flag asks for it.";
        "discovery-insecure-skip-tls-verify" => discovery_insecure_skip_tls_verify: bool = "false",
            "Do not verify the discovery service's certificate (only for tests).";
        "discovery-cert" => discovery_cert: String = "",
            "Certificate shown to the discovery service, in PEM.";
        "discovery-key" => discovery_key: String = "",
            "Its private key.";
        "discovery-cacert" => discovery_cacert: String = "",
            "Authorities that the discovery service's certificate is verified with.";
        "discovery-user" => discovery_user: String = "",
            "name, or name:password, to be known by at the discovery service.";
        "discovery-password" => discovery_password: String = "",
            "Password, if --discovery-user does not have it.";
        "discovery-srv" => discovery_srv: String = "",
            "Domain whose SRV records name the members; in place of --initial-cluster.";
        "discovery-srv-name" => discovery_srv_name: String = "",
            "Which cluster of that domain, if it has several.";
        "strict-reconfig-check" => strict_reconfig_check: bool = "true",
            "Refuse changes of the cluster that could cost it its quorum.";
        "max-learners" => max_learners: u64 = "1",
            "Most learners in the cluster.";
        "force-new-cluster" => force_new_cluster: bool = "false",
            "Go on as the only member of a cluster whose quorum is lost; all others are removed.";
        "auto-compaction-mode" => auto_compaction_mode: String = "periodic",
            "'periodic' keeps a stretch of time, 'revision' a number of revisions.";
        "auto-compaction-retention" => auto_compaction_retention: String = "0",
            "What automatic compaction keeps; a bare number means hours if periodic; 0 is off.";
    }
    Security {
        "cert-file" => cert_file: String = "",
            "Certificate shown to clients, in PEM; those of its issuers may follow.";
        "key-file" => key_file: String = "",
            "Its private key.";
        "client-cert-auth" => client_cert_auth: bool = "false",
            "Ask clients for a certificate; its common name is their user name.";
        "trusted-ca-file" => trusted_ca_file: String = "",
            "Authorities whose clients are let in; others are not, whatever else is given.";
        "client-crl-file" => client_crl_file: String = "",
            "List of revoked clients' certificates, in DER or PEM.";
        "client-cert-allowed-hostname" => client_cert_allowed_hostname: String = "",
            "Names of which a client's certificate must have one, separated by commas.";
        "client-cert-file" => client_cert_file: String = "",
            "Accepted: this member is no client of itself.";
        "client-key-file" => client_key_file: String = "",
            "Accepted: this member is no client of itself.";
        "auto-tls" => auto_tls: bool = "false",
            "Show clients a certificate that this member makes for itself.";
        "peer-cert-file" => peer_cert_file: String = "",
            "Certificate shown to other members, in PEM; those of its issuers may follow.";
        "peer-key-file" => peer_key_file: String = "",
            "Its private key.";
        "peer-client-cert-auth" => peer_client_cert_auth: bool = "false",
            "Ask other members that connect for a certificate.";
        "peer-trusted-ca-file" => peer_trusted_ca_file: String = "",
            "Authorities whose members are believed; others are not, whatever else is given.";
        "peer-crl-file" => peer_crl_file: String = "",
            "List of revoked members' certificates, in DER or PEM.";
        "peer-cert-allowed-cn" => peer_cert_allowed_cn: String = "",
            "Common names of which a member's certificate must have one, separated by commas.";
        "peer-cert-allowed-hostname" => peer_cert_allowed_hostname: String = "",
            "Names of which a member's certificate must have one, separated by commas.";
        "peer-client-cert-file" => peer_client_cert_file: String = "",
            "Certificate shown to members this one connects to; --peer-cert-file if empty.";
        "peer-client-key-file" => peer_client_key_file: String = "",
            "Its private key.";
        "peer-auto-tls" => peer_auto_tls: bool = "false",
            "Show other members a certificate that this one makes for itself, and believe theirs.";
        "peer-skip-client-san-verification" => peer_skip_client_san_verification: bool = "false",
            "Let members connect from hosts that their certificates do not name.";
        "self-signed-cert-validity" => self_signed_cert_validity: u32 = "1",
            "Years that a certificate lasts which a member makes for itself.";
        "cors" => cors: String = "*",
            "Origins whose pages may read what clients are answered by HTTP, separated by commas.";
        "host-whitelist" => host_whitelist: String = "*",
            "Hosts' names by which the client API may be asked by HTTP without TLS, separated by \
             commas; and further ones for the console.";
        "cipher-suites" => cipher_suites: String = "",
            "Cipher suites of TLS 1.2, separated by commas; all that are safe if empty.";
        "tls-min-version" => tls_min_version: String = "TLS1.2",
            "Oldest version of TLS: TLS1.2 or TLS1.3.";
        "tls-max-version" => tls_max_version: String = "",
            "Newest version of TLS: TLS1.2 or TLS1.3; the newest there is if empty.";
    }
    Auth {
        "auth-token" => auth_token: String = "simple",
            "What a user gets for a password: 'simple', or 'jwt' with its options: \
             jwt,sign-method=ES256,pub-key=FILE,priv-key=FILE,ttl=10m.";
        "auth-token-ttl" => auth_token_ttl: u64 = "300",
            "Seconds a simple token lives after its last use.";
        "bcrypt-cost" => bcrypt_cost: u64 = "10",
            "How dear it is to hash a password, from 4 to 31.";
    }
    Maintenance {
        "watch-progress-notify-interval" => watch_progress_notify_interval: std::time::Duration
            = "0s",
            "Time between progress notifications of an idle watch; 0s for 10 minutes.";
        "warning-apply-duration" => warning_apply_duration: std::time::Duration = "100ms",
            "What applying or reading may take before the log tells of it.";
        "warning-unary-request-duration" => warning_unary_request_duration: std::time::Duration
            = "300ms",
            "What a call on keys may take before the log tells of it.";
        "corrupt-check-time" => corrupt_check_time: std::time::Duration = "0s",
            "How often everything stored is read; 0s for each day. Members compare always.";
        "compact-hash-check-time" => compact_hash_check_time: std::time::Duration = "1m0s",
            "Accepted: members compare their states each second, compacted or not.";
        "downgrade-check-time" => downgrade_check_time: std::time::Duration = "5s",
            "Accepted: a downgrade is looked after whenever something about it changes.";
        "feature-gates" => feature_gates: String = "",
            "etcd's features, as Name=true,Name=false. Those that check for corruption are always \
             on here; the others are accepted.";
    }
    Logging {
        "logger" => logger: String = "zap",
            "Kind of logger; 'zap' is the only one.";
        "log-outputs" => log_outputs: String = "default",
            "'default', 'stdout', 'stderr' or file paths, separated by commas.";
        "log-level" => log_level: String = "info",
            "debug, info, warn, error, panic or fatal.";
        "log-format" => log_format: String = "json",
            "'json' or 'console'.";
        "enable-log-rotation" => enable_log_rotation: bool = "false",
            "Turn over the one file among --log-outputs when it is full.";
        "log-rotation-config-json" => log_rotation_config_json: String
            = "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \
               \"compress\": false}",
            "When: megabytes, days, files; whether old files' names tell local time, and whether \
             they are compressed.";
        "metrics" => metrics: String = "basic",
            "'basic', or 'extensive' for how long calls of each kind take.";
    }
    Profiling {
        "enable-pprof" => enable_pprof: bool = "false",
            "Serve profiles of the processor's time below /debug/pprof/ on --listen-client-urls.";
    }
    Tracing {
        "enable-distributed-tracing" => enable_distributed_tracing: bool = "false",
            "Send spans of calls to a collector that speaks OpenTelemetry's protocol in gRPC.";
        "distributed-tracing-address" => distributed_tracing_address: String = "localhost:4317",
            "The collector's host and port.";
        "distributed-tracing-service-name" => distributed_tracing_service_name: String = "etcd",
            "The name there of the cluster.";
        "distributed-tracing-instance-id" => distributed_tracing_instance_id: String = "",
            "The name there of this member.";
        "distributed-tracing-sampling-rate" => distributed_tracing_sampling_rate: i64 = "0",
            "Of a million calls that do not say whether they want to be sampled, so many are.";
    }
    Other {
        "config-file" => config_file: String = "",
            "A YAML file with all settings; other flags and the environment do not count then.";
        "version" => version: bool = "false",
            "Print the version and exit.";
        "help" => help: bool = "false",
            "Print this text and exit.";
    }
}

impl Flags {
    /// Whether somebody gave the flag of that name.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }
}
