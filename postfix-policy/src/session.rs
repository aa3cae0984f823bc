//! One connection of either protocol: request, answer, until the peer closes or the daemon drains.
//!
//! Requests are answered one after the other, in the order they came, also where a peer sends several at once; Postfix itself waits for
//! each answer. A request that is under way when draining begins is answered; then the connection is closed at the next frame
//! boundary, and Postfix asks the new process.

use std::fmt::Display;
use std::sync::Arc;

use gatepost::net::frames::Netstrings;
use gatepost::net::{Drain, Stream};
use tracing::Instrument;

use crate::protocol::{policy, socketmap};
use crate::service::PostfixPolicy;
use crate::wire::{PATIENCE, Wire, WireError};

/// Serves one socketmap connection.
pub(crate) async fn socketmap(service: Arc<PostfixPolicy>, stream: Stream, drain: Drain) {
    let span = tracing::error_span!("socketmap", peer = %stream.peer(), session = service.next_session());
    async {
        let mut wire = Wire::new(stream, PATIENCE);
        let mut netstrings = Netstrings::new(socketmap::MAX_REQUEST);
        loop {
            match wire.next(&mut netstrings, &drain).await {
                Ok(Some(content)) => service.look_up(&content).await.render(wire.output()),
                Ok(None) => return wire.close().await,
                Err(error) => {
                    report(&service, &error);
                    return wire.close().await;
                }
            }
        }
    }
    .instrument(span)
    .await;
}

/// Serves one policy connection of the endpoint at that place of the configuration.
pub(crate) async fn policy(service: Arc<PostfixPolicy>, endpoint: usize, stream: Stream, drain: Drain) {
    let span = tracing::error_span!("policy", peer = %stream.peer(), session = service.next_session());
    async {
        let mut wire = Wire::new(stream, PATIENCE);
        let mut requests = policy::Requests::default();
        loop {
            match wire.next(&mut requests, &drain).await {
                Ok(Some(request)) => service.judge(endpoint, &request).await.render(wire.output()),
                Ok(None) => return wire.close().await,
                Err(error) => {
                    report(&service, &error);
                    return wire.close().await;
                }
            }
        }
    }
    .instrument(span)
    .await;
}

/// A peer that is no Postfix is most likely a socket that main.cf confuses with another, so the operator hears of it; one that
/// merely left is its own affair. One fault is one line a minute, however many peers have it.
fn report<E: Display>(service: &PostfixPolicy, error: &WireError<E>) {
    match error {
        WireError::Malformed { reason, .. } => {
            if let Some(more) = service.faults().may_say(&reason.to_string()) {
                tracing::warn!(more, "connection closed: {error}; does main.cf name the right socket?")
            }
        }
        WireError::Truncated | WireError::Slow(_) | WireError::Io(_) => {
            tracing::debug!("connection closed: {error}")
        }
    }
}
