//! The world around the map `tls`: Unbound, which validates a zone that ldns has signed, and a web server with policies.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gatepost::config;
use gatepost_postfix_policy::tls::Elsewhere;

use crate::ports::free_port;

/// Unbound on the loopback device; ended when dropped.
pub(crate) struct Unbound {
    child: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Unbound {
    /// Serves zone `signed.test`, of which it has the trust anchor, and what [`Unbound::add`] adds without signatures.
    pub(crate) fn start(signed: &str) -> Self {
        Self::start_also(signed, None)
    }

    /// The same, which also answers on the usual port of another address of the loopback device: a resolv.conf names no port.
    pub(crate) fn start_also(signed: &str, address: Option<Ipv4Addr>) -> Self {
        let directory = tempfile::Builder::new().prefix("gatepost-unbound.").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let head = "$ORIGIN signed.test.\n$TTL 300\n@ IN SOA ns.signed.test. root.signed.test. 1 3600 600 86400 300\n@ IN NS ns\nns IN A 127.0.0.1\n";
        std::fs::write(at("zone"), format!("{head}{signed}\n")).unwrap();
        let key = run(Command::new("ldns-keygen")
            .args(["-a", "ECDSAP256SHA256", "-k", "signed.test"])
            .current_dir(directory.path()));
        let key = key.trim();
        run(Command::new("ldns-signzone")
            .args(["-f", "zone.signed", "zone", key])
            .current_dir(directory.path()));
        // One answer is forged: a record that is not the one that was signed.
        let zone = std::fs::read_to_string(at("zone.signed")).unwrap();
        std::fs::write(at("zone.signed"), zone.replace("192.0.2.66", "192.0.2.67")).unwrap();
        let port = free_port();
        let also = address.map(|address| format!(" interface: {address}@53\n")).unwrap_or_default();
        let conf = format!(
            "server:\n interface: 127.0.0.1@{port}\n{also} directory: \"{dir}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n do-daemonize: no\n \
             use-syslog: no\n logfile: \"\"\n module-config: \"validator iterator\"\n trust-anchor-file: \"{key}.key\"\n do-not-query-localhost: no\n \
             local-zone: \"test.\" nodefault\n local-zone: \"plain.test.\" static\n val-clean-additional: yes\n\
             remote-control:\n control-enable: yes\n control-interface: {dir}/control\n control-use-cert: no\n\
             auth-zone:\n name: \"signed.test\"\n zonefile: \"zone.signed\"\n for-downstream: no\n for-upstream: yes\n",
            dir = directory.path().display()
        );
        std::fs::write(at("unbound.conf"), conf).unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        let child =
            Command::new("unbound").args(["-d", "-c"]).arg(at("unbound.conf")).stderr(log).spawn().unwrap();
        let mut unbound = Self { child, directory, port };
        unbound.wait();
        unbound
    }

    fn wait(&mut self) {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.control(&["status"]).0 {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap();
            assert!(self.child.try_wait().unwrap().is_none(), "unbound ended: {log}");
            assert!(Instant::now() < end, "unbound does not answer: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Adds a record, as `name TYPE data`.
    pub(crate) fn add(&self, record: &str) {
        let (good, said) = self.control(&["local_data", record]);
        assert!(good, "{record}: {said}");
    }

    /// Takes all records of a name away.
    pub(crate) fn remove(&self, name: &str) {
        let (good, said) = self.control(&["local_data_remove", name]);
        assert!(good, "{name}: {said}");
    }

    fn control(&self, words: &[&str]) -> (bool, String) {
        let output = Command::new("unbound-control")
            .arg("-c")
            .arg(self.directory.path().join("unbound.conf"))
            .args(words)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// Section `[dns]` for it. Nothing is remembered for longer than a second, so that changes count.
    pub(crate) fn config(&self) -> config::Dns {
        config::Dns { servers: vec![([127, 0, 0, 1], self.port).into()], ..config::Dns::default() }
    }

    /// The same as TOML.
    pub(crate) fn toml(&self) -> String {
        format!("[dns]\nservers = [\"127.0.0.1:{}\"]\n", self.port)
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The web server; ended when dropped.
pub(crate) struct Https {
    child: Child,
    directory: tempfile::TempDir,
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Https {
    /// A server with a certificate for every `mta-sts.NAME.plain.test`, but not for those below.
    pub(crate) fn start(names: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("gatepost-https.").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let openssl = |words: &[&str]| run(Command::new("openssl").args(words).current_dir(directory.path()));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "2",
            "-subj",
            "/CN=test authority",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        ]);
        let hosts: Vec<String> = names.iter().map(|name| format!("mta-sts.{name}")).collect();
        issue(directory.path(), "web", &hosts);
        std::fs::create_dir(at("policies")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postfix-policy/tls/https.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .args([at("policies"), at("web.certificate"), at("web.key")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| log.lock().unwrap().push(line))
        });
        Self { child, directory, port, seen }
    }

    /// A certificate of the same authority for a host, in one file with its key, and the SHA-256 of its public key in hex.
    pub(crate) fn certificate(&self, host: &str) -> (PathBuf, String) {
        issue(self.directory.path(), host, &[host.to_owned()]);
        let at = |kind: &str| self.directory.path().join(format!("{host}.{kind}"));
        let (key, certificate) =
            (std::fs::read(at("key")).unwrap(), std::fs::read(at("certificate")).unwrap());
        std::fs::write(at("chain"), [key, certificate].concat()).unwrap();
        let der = at("der");
        run(Command::new("openssl")
            .args(["pkey", "-pubout", "-outform", "DER", "-in"])
            .arg(at("key"))
            .arg("-out")
            .arg(&der));
        let digest = run(Command::new("sha256sum").arg(der));
        (at("chain"), digest.split(' ').next().unwrap().to_owned())
    }

    /// The authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// What is answered for `mta-sts.NAME`; `kind` as in https.py. What was there before is gone.
    pub(crate) fn publish(&self, name: &str, kind: &str, text: &str) {
        self.withdraw(name);
        std::fs::write(self.policies().join(format!("mta-sts.{name}.{kind}")), text).unwrap();
    }

    /// There is no policy any more.
    pub(crate) fn withdraw(&self, name: &str) {
        for entry in std::fs::read_dir(self.policies()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().unwrap().to_str() == Some(&format!("mta-sts.{name}")) {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    fn policies(&self) -> PathBuf {
        self.directory.path().join("policies")
    }

    /// How often the policy of a name was asked for. The server prints a request before it answers it, so that all it will ever say of
    /// answered requests is on its way by now; this waits until it has been read.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let mark = format!("mark {:?}", Instant::now());
        std::fs::write(self.directory.path().join("mark"), &mark).unwrap();
        let line = format!("mta-sts.{name} /.well-known/mta-sts.txt");
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let seen = self.seen.lock().unwrap();
            if seen.contains(&mark) {
                return seen.iter().filter(|seen| **seen == line).count();
            }
            drop(seen);
            assert!(Instant::now() < end, "the web server does not print any more");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn elsewhere(&self) -> Elsewhere {
        let authority = std::fs::read(self.authority()).unwrap();
        Elsewhere { port: Some(self.port), authority: Some(authority) }
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// NAME.key and NAME.certificate, by the authority in the directory.
fn issue(directory: &Path, name: &str, hosts: &[String]) {
    let openssl = |words: &str| run(Command::new("openssl").args(words.split(' ')).current_dir(directory));
    let names: Vec<String> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
    std::fs::write(
        directory.join("extensions"),
        format!("subjectAltName={}\nbasicConstraints=CA:FALSE\n", names.join(",")),
    )
    .unwrap();
    openssl(&format!(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out request -subj /CN={name}"
    ));
    openssl(&format!(
        "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.certificate -days 2 -extfile extensions"
    ));
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `tests/install-packages` installs it"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
