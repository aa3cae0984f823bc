//! Who may connect where (`[dovecot-auth.peers]`): peers that run as other users of the system, over the real sockets.

use std::process::Command;

use crate::instance::{Instance, soon};

/// What a peer that runs as that user hears first at a socket; empty where it is turned away. Python connects: a process of another user that
/// shares nothing with us.
async fn first_word(instance: &Instance, uid: u32, socket: &str) -> String {
    let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode()); print(s.recv(100).decode(), end='')";
    // Dictionaries say nothing before they are asked.
    let said = if socket.starts_with("dict") { "H3\t2\t0\t\tnone\nLshared/x\tx\n" } else { "" };
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={uid}"), "--clear-groups", "/usr/bin/python3", "-c", script]);
    command.arg(instance.socket(socket)).arg(said);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = soon("the peer ends", output).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_socket_has_its_peers_and_others_hear_nothing() {
    assert!(nix::unistd::geteuid().is_root(), "only root can be somebody else");
    let peers = "[dovecot-auth.peers]\nlogin = [\"60001\"]\npostfix = [\"60002\"]\ndict-auth = [\"*\"]";
    let instance = Instance::start(&format!("uid = \"60000\"\n{peers}")).await;
    for (uid, lets_in) in [
        // Root, and the daemon's own user here.
        (0, &["login", "postfix", "master", "userdb", "dict", "dict-auth"][..]),
        // The owner of the mail.
        (60_000, &["userdb", "dict", "dict-auth"]),
        (60_001, &["login", "dict-auth"]),
        (60_002, &["postfix", "dict-auth"]),
        (60_003, &["dict-auth"]),
    ] {
        for socket in ["login", "postfix", "master", "userdb", "dict", "dict-auth"] {
            let heard = first_word(&instance, uid, socket).await;
            let expected = match socket {
                _ if !lets_in.contains(&socket) => "",
                "dict" | "dict-auth" => "Fno dictionary \"none\"",
                _ => "VERSION\t1\t",
            };
            assert!(heard.starts_with(expected), "{uid} at {socket}: {heard}");
            assert_eq!(heard.is_empty(), expected.is_empty(), "{uid} at {socket}: {heard}");
        }
    }
    assert_eq!(instance.stop().await, 0);
}
