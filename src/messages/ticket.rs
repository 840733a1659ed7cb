//! The open account of one record: closed by exactly one verdict, silence included.
//!
//! Keeps O2 (a ticket dropped without a verdict counts as failed) and O3 (a verdict carries its generation).
//! After the finalisers of event pipelines: the guard travels with the work and speaks when it is dropped.

use crate::domain::ids::{Generation, RecordOffset};
use actix::dev::{Message, Recipient};
use std::sync::Arc;

/// Verdicts on records of one generation of a partition.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TicketsClosed {
    pub generation: Generation,
    pub settled: Vec<RecordOffset>,
    /// Without a verdict, or given up: the partition goes back to its frontier (O2).
    pub failed: Vec<RecordOffset>,
    /// Why, where somebody said it.
    pub cause: Option<String>,
}

/// Where a partition's tickets report.
pub struct TicketHome {
    generation: Generation,
    partition: Recipient<TicketsClosed>,
}

impl TicketHome {
    pub fn new(generation: Generation, partition: Recipient<TicketsClosed>) -> Arc<Self> {
        Arc::new(Self { generation, partition })
    }

    pub fn ticket(self: &Arc<Self>, at: RecordOffset) -> Ticket {
        Ticket { home: Some(Arc::clone(self)), at }
    }
}

/// One part of one record. Dropping it unsettled fails the record.
pub struct Ticket {
    home: Option<Arc<TicketHome>>,
    at: RecordOffset,
}

impl Ticket {
    /// Settles many, one message per partition.
    pub fn settle(tickets: impl IntoIterator<Item = Ticket>) {
        for (home, settled) in Self::by_home(tickets) {
            let closed = TicketsClosed { generation: home.generation, settled, failed: Vec::new(), cause: None };
            home.partition.do_send(closed);
        }
    }

    /// Gives many up for one cause (O2).
    pub fn fail(tickets: impl IntoIterator<Item = Ticket>, cause: &str) {
        for (home, failed) in Self::by_home(tickets) {
            let cause = Some(cause.to_owned());
            let closed = TicketsClosed { generation: home.generation, settled: Vec::new(), failed, cause };
            home.partition.do_send(closed);
        }
    }

    fn by_home(tickets: impl IntoIterator<Item = Ticket>) -> Vec<(Arc<TicketHome>, Vec<RecordOffset>)> {
        let mut batches: Vec<(Arc<TicketHome>, Vec<RecordOffset>)> = Vec::new();
        for mut ticket in tickets {
            let Some(home) = ticket.home.take() else { continue };
            match batches.iter_mut().find(|(h, _)| Arc::ptr_eq(h, &home)) {
                Some((_, settled)) => settled.push(ticket.at),
                None => batches.push((home, vec![ticket.at])),
            }
        }
        batches
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.partition.do_send(TicketsClosed {
                generation: home.generation,
                settled: Vec::new(),
                failed: vec![self.at],
                cause: None,
            });
        }
    }
}
