//! A cluster of processes on this machine, which end with it: they are killed when it is dropped, also by a panic, and stop
//! by themselves when the process that started them is gone.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How to start the programs: each with its first arguments.
pub struct Programs {
    pub scheduler: Vec<String>,
    pub executor: Vec<String>,
}

/// What a cluster is made of.
pub struct Size {
    pub executors: usize,
    /// Of each executor.
    pub slots: usize,
    /// Seconds without a heartbeat after which an executor is lost.
    pub executor_timeout: u64,
    /// Seconds without any executor after which a query fails.
    pub no_executors_timeout: u64,
}

pub struct Cluster {
    /// `HOST:PORT` of the scheduler.
    pub address: String,
    pub executors: Vec<Process>,
    pub scheduler: Process,
    _folder: TempDir,
}

impl Cluster {
    /// Starts it, and returns once all executors have registered.
    pub async fn start(programs: &Programs, size: &Size) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut scheduler = Process::start(
            &programs.scheduler,
            &[
                "--port=0".into(),
                "--stop-with-stdin".into(),
                format!("--min-executors={}", size.executors),
                format!("--executor-timeout={}", size.executor_timeout),
                format!("--no-executors-timeout={}", size.no_executors_timeout),
            ],
            folder.path().join("scheduler"),
        );
        let address = scheduler.address();
        let executors = (0..size.executors).map(|i| {
            let work = folder.path().join(format!("executor-{i}"));
            let arguments = [
                format!("--scheduler={address}"),
                "--port=0".into(),
                "--grpc-port=0".into(),
                "--stop-with-stdin".into(),
                "--heartbeat=1".into(),
                format!("--task-slots={}", size.slots),
                format!("--work-dir={}", work.join("work").display()),
            ];
            Process::start(&programs.executor, &arguments, work)
        });
        let cluster = Cluster { executors: executors.collect(), address, scheduler, _folder: folder };
        if let Err(error) = batchnorm_ballista::wait_until_ready(&cluster.address, Duration::from_secs(60)).await {
            panic!("{error}"); // the processes' logs are printed as they are dropped
        }
        cluster
    }

    /// The processes' ids.
    pub fn ids(&self) -> Vec<u32> {
        self.executors.iter().chain([&self.scheduler]).map(|process| process.child.id()).collect()
    }
}

/// A process with a folder of its own.
pub struct Process {
    child: Child,
    pub folder: PathBuf,
}

impl Process {
    fn start(program: &[String], arguments: &[String], folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        let log = File::create(folder.join("log")).expect("a log file");
        let child = Command::new(&program[0])
            .args(&program[1..])
            .args(arguments)
            .env("RUST_LOG", "warn,ballista_scheduler=info,ballista_executor=info")
            // Held by the child's handle: it ends with this process.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program[0]));
        Process { child, folder }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The address that a scheduler prints.
    fn address(&mut self) -> String {
        let start = Instant::now();
        loop {
            let log = self.log();
            let line = log.lines().find_map(|line| line.strip_prefix("batchnorm-scheduler: listening on "));
            if let Some(address) = line {
                return address.to_string();
            }
            let ended = self.child.try_wait().expect("a child").is_some();
            assert!(!ended && start.elapsed() < Duration::from_secs(60), "no scheduler (ended: {ended}): {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the process at once, as a machine that loses power does: it cannot say goodbye, and its files are gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process that runs");
        self.child.wait().expect("a child");
        let _ = std::fs::remove_dir_all(self.folder.join("work")); // a scheduler has none
    }

    /// Asks the process to end, and waits for it.
    pub fn terminate(&mut self, limit: Duration) -> std::process::ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().expect("kill").success());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < limit, "still running after {limit:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The files that an executor has written for later stages and for clients, with their sizes.
    pub fn shuffled(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        collect(&self.folder.join("work"), &mut files);
        files
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails if it has ended
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.folder.display(), self.log());
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, u64)>) {
    // A folder may go while it is read.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => collect(&entry.path(), files),
            Ok(metadata) => files.push((entry.path(), metadata.len())),
            Err(_) => {}
        }
    }
}
