//! nginx and a load tool, as Debian ships them, below a directory of our own and on a port of loopback.

use crate::shell::{self, Answer, must};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Requests of one run of the load tool: then it is asked whether to go on.
const REQUESTS: u64 = 500;

/// Installs what is missing.
pub(crate) fn install() -> Answer<()> {
    shell::install("nginx", "nginx-light")?;
    shell::install("ab", "apache2-utils")
}

/// A running server.
pub(crate) struct Nginx {
    process: Child,
    prefix: PathBuf,
    log: PathBuf,
    port: u16,
}

impl Nginx {
    /// Starts a server whose access log is `log`.
    pub(crate) fn start(prefix: &Path, log: &Path) -> Answer<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        fs::write(prefix.join("nginx.conf"), configuration(log, port))?;
        let process = command(prefix).spawn().map_err(|error| format!("nginx: {error}"))?;
        let mut server =
            Self { process, prefix: prefix.to_path_buf(), log: log.to_path_buf(), port };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.process.try_wait()? {
                return Err(format!("nginx ended: {status}").into());
            }
            if started.elapsed() > Duration::from_secs(10) {
                return Err("nginx does not answer".into());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As logrotate does it: rename, then have the server open a new log.
    pub(crate) fn rotate(&self, to: &Path) -> Answer<()> {
        fs::rename(&self.log, to)?;
        must(command(&self.prefix).args(["-s", "reopen"]))
    }

    /// Ends the server when it has answered what it has accepted.
    pub(crate) fn stop(mut self) -> Answer<()> {
        must(command(&self.prefix).args(["-s", "quit"]))?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // After `stop` there is nobody left to kill; when a step has failed there is.
        if matches!(self.process.try_wait(), Ok(None)) {
            drop(command(&self.prefix).args(["-s", "stop"]).status());
            drop(self.process.wait());
        }
    }
}

fn command(prefix: &Path) -> Command {
    let mut command = Command::new(if Path::new("/usr/sbin/nginx").exists() {
        "/usr/sbin/nginx"
    } else {
        "nginx"
    });
    // The error log is named here too: the built-in default would be asked for before the file is read.
    command
        .arg("-p")
        .arg(prefix)
        .arg("-c")
        .arg(prefix.join("nginx.conf"))
        .arg("-e")
        .arg(prefix.join("error.log"));
    command
}

/// One worker, so that each log is complete before the next one has its first line. Every line is unique by `$request_id`.
fn configuration(log: &Path, port: u16) -> String {
    let log = log.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path temp_{what};\n"))
        .concat();
    let request = r#"$request_id $msec $connection-$connection_requests $remote_addr "$request" $status "$http_user_agent""#;
    format!(
        "daemon off;\nworker_processes 1;\npid nginx.pid;\nevents {{ worker_connections 256; }}\n\
         http {{\n{temporary}    log_format proof '{request}';\n    access_log {log} proof;\n\
         server {{ listen 127.0.0.1:{port}; location / {{ return 200 'hello'; }} }}\n}}\n"
    )
}

/// Requests without end, from a thread that runs the load tool again and again.
pub(crate) struct Load {
    goes_on: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Load {
    pub(crate) fn start(port: u16) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&goes_on);
        let thread = std::thread::spawn(move || {
            let mut requests = 0;
            while asked.load(Ordering::Acquire) {
                let status = Command::new("ab")
                    .args(["-q", "-k", "-c", "4", "-n", &REQUESTS.to_string()])
                    .arg(format!("http://127.0.0.1:{port}/cart?round={requests}"))
                    .stdout(Stdio::null())
                    .status()
                    .map_err(|error| format!("ab: {error}"))?;
                if !status.success() {
                    return Err(format!("ab: {status}"));
                }
                requests += REQUESTS;
            }
            Ok(requests)
        });
        Self { goes_on, thread }
    }

    /// Ends the load; answers the number of requests.
    pub(crate) fn stop(self) -> Answer<u64> {
        self.goes_on.store(false, Ordering::Release);
        Ok(self.thread.join().map_err(|_| "the load panicked")??)
    }
}
