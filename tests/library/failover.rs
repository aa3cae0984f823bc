//! Several servers in `database.host`: which one is asked, and what happens when it goes. A server here is a port that leads to the test's
//! cluster, and that can be cut off or made silent; a real primary and its standby change places in a scene of `tests/stack`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gatepost::config::{self, DatabaseHosts, Seconds, SessionAttrs};
use gatepost::database::{Database, Trouble};
use gatepost::directory::{Directory, Lookup};
use gatepost::mail::Address;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

use crate::{postgres, until};

/// What becomes of who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Leads,
    /// Accepted and closed.
    Cut,
    /// Accepted, never answered; who was connected hears no more either.
    Silent,
    /// Another host has the name by now: who was connected to the former one hears no more, and who connects is led.
    Moved,
}

/// One server.
struct Server {
    port: u16,
    line: watch::Sender<Line>,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    async fn start(cluster: &postgres::Database, line: Line) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = cluster.socket().join(".s.PGSQL.5432");
        let (line, seen) = watch::channel(line);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (socket, mut seen) = (socket.clone(), seen.clone());
                tokio::spawn(async move {
                    let first = *seen.borrow_and_update();
                    let is_led = matches!(first, Line::Leads | Line::Moved);
                    let server = if is_led { UnixStream::connect(&socket).await.ok() } else { None };
                    if let Some(mut server) = server {
                        tokio::select! {
                            _ = copy_bidirectional(&mut client, &mut server) => return,
                            _ = seen.changed() => {}
                        }
                    }
                    while matches!(*seen.borrow_and_update(), Line::Silent | Line::Moved) {
                        if seen.changed().await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, line, accepted }
    }

    fn become_(&self, line: Line) {
        self.line.send(line).unwrap();
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn hosts(names: &[String]) -> DatabaseHosts {
    let list: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let text = format!("[database]\nhost = [{}]\n", list.join(", "));
    config::parse::<config::NoSection>(&text, std::path::Path::new("test.toml")).unwrap().database.host
}

fn database(cluster: &postgres::Database, servers: &[&Server], attrs: SessionAttrs) -> Database {
    let names: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let config = config::Database {
        host: hosts(&names),
        target_session_attrs: attrs,
        tls: config::TlsMode::Disable,
        timeout: Seconds::new(2),
        ..cluster.config()
    };
    Database::new(&config, "test").unwrap()
}

async fn asked(database: &Database) -> Result<i32, Trouble> {
    let question = sqlx::query_as("SELECT 1").fetch_one(database.pool());
    database.ask(async { question.await.map(|(one,): (i32,)| one) }).await
}

#[tokio::test]
async fn the_first_that_answers_is_asked_and_kept() {
    let cluster = postgres::Database::create().await;
    let (dead, first, second) = (
        Server::start(&cluster, Line::Cut).await,
        Server::start(&cluster, Line::Leads).await,
        Server::start(&cluster, Line::Leads).await,
    );
    let database = database(&cluster, &[&dead, &first, &second], SessionAttrs::Any);
    assert_eq!(asked(&database).await, Ok(1));
    dead.become_(Line::Leads);
    for _ in 0..10 {
        assert_eq!(asked(&database).await, Ok(1));
    }
    assert_eq!((dead.accepted(), second.accepted()), (1, 0), "the first that answered was left");
}

#[tokio::test]
async fn another_is_asked_when_it_goes_and_kept_when_it_comes_back() {
    let cluster = postgres::Database::create().await;
    let (first, second) =
        (Server::start(&cluster, Line::Leads).await, Server::start(&cluster, Line::Leads).await);
    let database = database(&cluster, &[&first, &second], SessionAttrs::Any);
    assert_eq!(asked(&database).await, Ok(1));
    assert_eq!(second.accepted(), 0);
    first.become_(Line::Cut);
    until("the second is asked", async || asked(&database).await == Ok(1)).await;
    assert!(second.accepted() > 0);
    first.become_(Line::Leads);
    let before = first.accepted();
    for _ in 0..10 {
        assert_eq!(asked(&database).await, Ok(1));
    }
    assert_eq!(first.accepted(), before, "one that failed is preferred to one that works");
    second.become_(Line::Cut);
    until("the first is asked again", async || asked(&database).await == Ok(1)).await;
    assert!(first.accepted() > before);
}

#[tokio::test]
async fn one_that_says_nothing_does_not_take_the_time_of_the_next() {
    let cluster = postgres::Database::create().await;
    let (silent, second) =
        (Server::start(&cluster, Line::Silent).await, Server::start(&cluster, Line::Leads).await);
    let both = database(&cluster, &[&silent, &second], SessionAttrs::Any);
    assert_eq!(asked(&both).await, Ok(1), "the very first question is answered");
    // One that falls silent in the middle: that question is lost, a later one is not.
    second.become_(Line::Silent);
    silent.become_(Line::Leads);
    assert!(matches!(asked(&both).await, Err(Trouble::Away(_))));
    until("the other is asked", async || asked(&both).await == Ok(1)).await;
}

#[tokio::test]
async fn who_is_read_only_is_passed_by_where_writing_is_wanted() {
    let cluster = postgres::Database::create().await;
    cluster.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", cluster.name())).await;
    let (first, second) =
        (Server::start(&cluster, Line::Leads).await, Server::start(&cluster, Line::Leads).await);
    let any = database(&cluster, &[&first, &second], SessionAttrs::Any);
    assert_eq!(asked(&any).await, Ok(1), "a standby will do for any");
    let database = database(&cluster, &[&first, &second], SessionAttrs::ReadWrite);
    let Err(Trouble::Away(why)) = asked(&database).await else { panic!("a standby was asked") };
    for server in [&first, &second] {
        assert!(why.contains(&format!("127.0.0.1:{}: it is read-only, a standby", server.port)), "{why}");
    }
    cluster
        .sql(&format!(
            "SET transaction_read_only = off; ALTER DATABASE {} RESET default_transaction_read_only",
            cluster.name()
        ))
        .await;
    until("a primary is found", async || asked(&database).await == Ok(1)).await;
}

#[tokio::test]
async fn many_at_once_choose_once() {
    let cluster = postgres::Database::create().await;
    let (dead, second) =
        (Server::start(&cluster, Line::Cut).await, Server::start(&cluster, Line::Leads).await);
    let database = Arc::new(database(&cluster, &[&dead, &second], SessionAttrs::ReadWrite));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let database = Arc::clone(&database);
            tokio::spawn(async move { asked(&database).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(1));
    }
    assert_eq!(dead.accepted(), 1, "every caller looked for a server of its own");
}

/// A directory that has all addresses in memory, and listens for changes.
async fn listening(database: &Database) -> (Directory, tokio::task::JoinHandle<()>) {
    let directory = Directory::new(database.clone(), &config::Database::default());
    directory.keep_roll();
    let watch = tokio::spawn(directory.clone().watch());
    until("all addresses are in memory", async || directory.kept().is_some()).await;
    (directory, watch)
}

/// The host of the primary dies without a word: its connections stay open and say nothing, the one that listens too. Questions find the next server
/// long before anything else would notice, and from then on only what the next server announces counts.
#[tokio::test]
async fn the_listening_moves_along_when_a_server_falls_silent() {
    let cluster = postgres::Database::create().await;
    cluster.install(true).await;
    let (first, second) =
        (Server::start(&cluster, Line::Leads).await, Server::start(&cluster, Line::Leads).await);
    let database = database(&cluster, &[&first, &second], SessionAttrs::ReadWrite);
    let (directory, watch) = listening(&database).await;
    let dora = Address::parse("dora@example.com").unwrap();
    assert_eq!(directory.mailbox(&dora).await, Lookup::None);
    first.become_(Line::Silent);
    until("the second is asked", async || asked(&database).await == Ok(1)).await;
    cluster.sql("INSERT INTO users (domain, local) VALUES ('example.com', 'dora')").await;
    until("what the second announces counts", async || directory.mailbox(&dora).await.is_found()).await;
    until("all addresses are in memory again", async || directory.kept().is_some()).await;
    cluster.sql("DELETE FROM users WHERE local = 'dora'").await;
    until("and goes on to count", async || directory.mailbox(&dora).await.is_none()).await;
    watch.abort();
}

/// The same where one name leads to another host from then on, as a floating address does: there is no other server to move to.
#[tokio::test]
async fn the_listening_begins_anew_when_its_own_connection_is_dead() {
    let cluster = postgres::Database::create().await;
    cluster.install(true).await;
    let server = Server::start(&cluster, Line::Leads).await;
    let database = database(&cluster, &[&server], SessionAttrs::Any);
    let (directory, watch) = listening(&database).await;
    let dora = Address::parse("dora@example.com").unwrap();
    assert_eq!(directory.mailbox(&dora).await, Lookup::None);
    server.become_(Line::Moved);
    until("the other host is asked", async || asked(&database).await == Ok(1)).await;
    cluster.sql("INSERT INTO users (domain, local) VALUES ('example.com', 'dora')").await;
    until("what the other host announces counts", async || directory.mailbox(&dora).await.is_found()).await;
    watch.abort();
}
