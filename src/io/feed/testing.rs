//! The engine's side of a source, as a channel of calls.

use crate::domain::fault::Fault;
use crate::domain::ids::{Generation, Name, Partition};
use crate::ports::Answer;
use crate::ports::source::{Assigned, Cut, Delivery, Intake};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

/// What a source called, with the hand that answers it.
pub(crate) enum Call {
    Assigned(Vec<Assigned>, oneshot::Sender<()>),
    Deliver(Delivery, oneshot::Sender<()>),
    Ended(Partition),
    Failed(Fault),
}

/// More calls than any test makes.
pub(crate) const CALLS_MAX: usize = 100_000;

pub(crate) struct Engine(pub(crate) Sender<Call>);

impl Intake for Engine {
    fn assigned(&self, _: &str, partitions: Vec<Assigned>) -> Answer<'static, ()> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.try_send(Call::Assigned(partitions, answer));
        Box::pin(async move {
            let _ = answered.await;
        })
    }
    fn deliver(&self, records: Delivery) -> Answer<'static, ()> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.try_send(Call::Deliver(records, answer));
        Box::pin(async move {
            let _ = answered.await;
        })
    }
    fn ended(&self, partition: Partition, _: Generation) {
        let _ = self.0.try_send(Call::Ended(partition));
    }
    fn cut(&self, _: Partition, _: Generation, _: Cut) {}
    fn revoked(&self, _: Vec<Partition>) -> Answer<'static, ()> {
        Box::pin(async {})
    }
    fn waits(&self, _: Option<Fault>) {}
    fn failed(&self, _: Option<Partition>, fault: Fault) {
        let _ = self.0.try_send(Call::Failed(fault));
    }
}

pub(crate) fn part(topic: &str, number: i32) -> Partition {
    Partition { topic: Name::of(topic), number }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}
