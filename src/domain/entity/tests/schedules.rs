//! Any schedule of changes, sends, answers and doubts, against a store that is a plain fold.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<RowChange>),
    Send,
    Acknowledge,
    /// Unknown: whether the store applied it.
    Unknown(bool),
    Refuse,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fill = (0u8..3, "[ab]").prop_map(|(child, value)| {
        let image = told(&[("id", "1"), ("qty", &value), ("price", &value)]);
        change(part_id("order_item", &child.to_string()), 0, Effect::Put { image, reborn: false })
    });
    let child = || (0u8..3).prop_map(|child| child.to_string());
    let change = prop_oneof![
        4 => (child(), 1i64..12).prop_map(|(c, s)| put(&c, s)),
        1 => (child(), 1i64..12).prop_map(|(c, s)| reborn(&c, s)),
        2 => (child(), 1i64..12).prop_map(|(c, s)| delete(&c, s)),
        1 => fill,
    ];
    let step = prop_oneof![
        4 => prop::collection::vec(change, 1..4).prop_map(Step::Apply),
        4 => Just(Step::Send),
        3 => Just(Step::Acknowledge),
        1 => any::<bool>().prop_map(Step::Unknown),
        1 => Just(Step::Refuse),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..60)
}

/// The entity against a store that is a plain fold, and a list of what was applied and not refused.
struct World {
    entity: EntityState<usize>,
    kind: VersionKind,
    lines: [Line; 1],
    store: WideRow,
    flying: Option<RowWrite>,
    /// By ticket.
    changes: Vec<RowChange>,
    answers: Vec<u32>,
    refused: Vec<usize>,
}

impl World {
    fn new(kind: VersionKind) -> Self {
        let store = WideRow::default();
        let lines = [line("search", "order")];
        let (changes, answers, refused) = Default::default();
        Self { entity: entity(kind), kind, lines, store, flying: None, changes, answers, refused }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Apply(changes) => self.apply(changes.clone()),
            Step::Send => {
                let write = self.entity.next_write();
                assert!(write.is_none() || self.flying.is_none(), "N1: two writes in flight");
                self.flying = write.or(self.flying.take());
            }
            Step::Acknowledge => self.answer(true, Ok(())),
            Step::Unknown(stored) => self.answer(*stored, fault(FaultKind::Timeout)),
            Step::Refuse => self.answer(false, fault(FaultKind::Rejected)),
            Step::Forget => self.entity.forget(),
        }
    }

    fn apply(&mut self, changes: Vec<RowChange>) {
        let first = self.changes.len();
        self.answers.resize(first + changes.len(), 0);
        self.changes.extend(changes.iter().cloned());
        let applied = self.entity.apply(changes.into_iter().zip(first..), &self.lines, NOW);
        self.offered(applied.at_once);
    }

    fn answer(&mut self, stored: bool, outcome: Result<(), Fault>) {
        let Some(write) = self.flying.take() else { return };
        if stored {
            let before = self.store.clone();
            self.store.merge(&write.change);
            let (was, is) = (before.version(self.kind), self.store.version(self.kind));
            let changed = before.parts != self.store.parts;
            assert!(is > was || (is == was && !changed), "V4: {was} to {is}, content changed: {changed}");
        }
        match self.entity.written(outcome) {
            Acknowledged::Written(batch) => self.offered(batch),
            Acknowledged::Again(_) => {}
            Acknowledged::Failed { tickets, .. } => {
                for ticket in tickets {
                    self.answers[ticket] += 1;
                    self.refused.push(ticket);
                }
            }
        }
    }

    /// J3: what is offered is in the store, and every change behind it has its offer.
    fn offered(&mut self, batch: Batch<usize>) {
        for ticket in &batch.tickets {
            self.answers[*ticket] += 1;
            let change = &self.changes[*ticket];
            let part = self.store.part(&change.part).expect("an offer before its write");
            let tombstone = part.tombstone.map(|t| t.stamp);
            match &change.effect {
                Effect::Put { image, reborn } => {
                    let told = image.iter().all(|(n, _)| part.cells.get(n).is_some_and(|c| c.stamp >= change.stamp));
                    assert!(told && (!reborn || tombstone >= Some(change.stamp.before())), "{change:?} is not stored");
                }
                Effect::Delete => assert!(tombstone >= Some(change.stamp), "{change:?} is not stored"),
                Effect::MoveOut(_) => unreachable!("no moves here"),
            }
            let load = &batch.offers[0].load;
            assert!(load.oldest <= change.at && change.at <= load.newest);
        }
        assert_eq!(batch.offers.len(), usize::from(!batch.tickets.is_empty()));
    }

    /// Replays what was refused (O2) until nothing is left.
    fn finish(&mut self) {
        while !self.entity.is_idle() {
            self.step(&Step::Send);
            self.step(&Step::Acknowledge);
        }
        let again: Vec<_> = self.refused.iter().map(|t| self.changes[*t].clone()).collect();
        if !again.is_empty() {
            self.apply(again);
            self.step(&Step::Send);
            self.step(&Step::Acknowledge);
        }
    }

    /// What a plain fold of the same changes makes, in the order in which they were taken and kept.
    fn fold(&self) -> WideRow {
        let mut fold = WideRow::default();
        for (ticket, change) in self.changes.iter().enumerate().filter(|(t, _)| !self.refused.contains(t)) {
            let mut one = Bundle::<usize>::default();
            one.merge(change.clone(), NOW);
            one.change.iter().for_each(|one| fold.merge(one));
            assert_eq!(self.answers[ticket], 1, "ticket {ticket} was answered {} times", self.answers[ticket]);
        }
        fold
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Goal: N1–N3, J3, V4 and one answer a ticket under any schedule. Method: random steps against a plain fold.
    #[test]
    fn any_schedule_ends_as_a_plain_fold(steps in steps(), counter in any::<bool>()) {
        let mut world = World::new(if counter { VersionKind::Counter } else { VersionKind::Weight });
        steps.iter().for_each(|step| world.step(step));
        world.finish();
        prop_assert!(world.entity.is_idle());
        prop_assert_eq!(world.entity.open_tickets(), 0);
        prop_assert_eq!(&world.store.parts, &world.fold().parts);
        prop_assert!(world.answers.iter().all(|n| *n == 1));
    }
}
