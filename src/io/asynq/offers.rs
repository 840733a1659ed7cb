//! Offers: coalesced on state (J2, J4), spilled where a lane is full (J9).

use super::overflow::Overflow;
use super::queue::{AsynqQueue, Inner, arg};
use super::scripts::Scope;
use super::{keys, message, record};
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name, RowKey};
use crate::domain::job::{Hold, JobKey, Lane, Load, Offer, Offered};
use std::collections::HashSet;

/// Offers of one script call; Redis does nothing else meanwhile.
const OFFERS_PER_CALL: usize = 200;

impl AsynqQueue {
    pub(super) async fn offer_all(&self, offers: Vec<Offer>) -> Result<Vec<Offered>, Fault> {
        let mut answers = vec![Offered::Created; offers.len()];
        let lanes = self.inner.names.lanes();
        let mut by_line: Vec<(Name, Vec<(usize, Offer)>)> = Vec::new();
        for (at, mut offer) in offers.into_iter().enumerate() {
            let lane = self.inner.rules.lane(offer.lane);
            offer.lane = self.with_line(offer.key.line, |state| state.diversion.lane(lane, lanes));
            offer.load.first_offered = Millis(0);
            match by_line.iter_mut().find(|(line, _)| *line == offer.key.line) {
                Some((_, own)) => own.push((at, offer)),
                None => by_line.push((offer.key.line, vec![(at, offer)])),
            }
        }
        for (line, offers) in by_line {
            self.ready(line).await?;
            for (at, answer) in self.offer_line(line, offers).await? {
                answers[at] = answer;
            }
            self.inner.bells.of(line).notify_waiters();
        }
        Ok(answers)
    }

    async fn offer_line(&self, line: Name, mut offers: Vec<(usize, Offer)>) -> Result<Vec<(usize, Offered)>, Fault> {
        let mut answers = Vec::with_capacity(offers.len());
        let mut spilling = vec![false; self.inner.names.lanes()];
        // While jobs lie aside, offers coalesce onto them first, and newer ones queue up behind them.
        let gate = if self.any_aside() { Some(self.inner.gate.lock().await) } else { None };
        if gate.is_some() {
            let (answered, left, now_spilling) = self.aside(move |overflow| onto_asides(overflow, line, offers)).await?;
            (offers, spilling) = (left, now_spilling);
            answers.extend(answered);
        }
        let mut full: Vec<(usize, Offer, u32)> = Vec::new();
        for chunk in offers.chunks(OFFERS_PER_CALL) {
            for ((at, offer), code) in chunk.iter().zip(self.offer_chunk(line, chunk, &spilling).await?) {
                match code.as_bytes().first() {
                    Some(b'1') => answers.push((*at, Offered::Created)),
                    Some(b'2') => answers.push((*at, Offered::Coalesced)),
                    _ => full.push((*at, revived(offer, &code), u32::from(code.len() > 1))),
                }
            }
            if !full.is_empty() {
                full.iter().for_each(|(_, offer, _)| spilling[usize::from(offer.lane.0)] = true);
            }
        }
        drop(gate);
        if !full.is_empty() {
            answers.extend(self.spill(line, full).await?);
        }
        Ok(answers)
    }

    /// J9: into the overflow; a buried job that was to be revived leaves Redis once it lies there.
    async fn spill(&self, line: Name, full: Vec<(usize, Offer, u32)>) -> Result<Vec<(usize, Offered)>, Fault> {
        let _gate = self.inner.gate.lock().await;
        let buried: Vec<Vec<u8>> = full
            .iter()
            .filter(|(_, _, buried)| *buried == 1)
            .map(|(_, offer, _)| keys::base(&offer.key.row).into_bytes())
            .collect();
        let now = self.now();
        let put = move |overflow: &mut Overflow| {
            overflow.look_at(full.iter().map(|(_, offer, _)| &offer.key))?;
            let mut answers = Vec::with_capacity(full.len());
            for (at, mut offer, _) in full {
                if offer.load.first_offered == Millis(0) {
                    offer.load.first_offered = now;
                }
                let answer = match overflow.coalesce(&offer.key, offer.lane, &offer.load)? {
                    Some(answer) => answer,
                    None => {
                        overflow.put(&offer.key, offer.lane, 0, offer.load, Hold::Spilled)?;
                        Offered::Spilled
                    }
                };
                answers.push((at, answer));
            }
            Ok(answers)
        };
        let answers = self.aside(put).await?;
        if !buried.is_empty() {
            self.forget(line, "a", buried).await?;
        }
        Ok(answers)
    }

    pub(super) async fn forget(&self, line: Name, which: &str, bases: Vec<Vec<u8>>) -> Result<Vec<String>, Fault> {
        let mut loads = vec![String::new(); bases.len()];
        for scope in self.scopes(line) {
            let mut args = vec![arg(which)];
            args.extend(bases.iter().cloned());
            let gone: Vec<String> = self.run(&scope, &self.inner.scripts.forget, args).await?;
            loads.iter_mut().zip(gone).filter(|(_, gone)| !gone.is_empty()).for_each(|(load, gone)| *load = gone);
        }
        Ok(loads)
    }

    /// One script call per scope; an answer per offer as the script gives it.
    async fn offer_chunk(&self, line: Name, chunk: &[(usize, Offer)], spilling: &[bool]) -> Result<Vec<String>, Fault> {
        let mut items: Vec<OfferItem> = chunk
            .iter()
            .map(|(_, offer)| OfferItem {
                lane: offer.lane,
                gen_text: String::new(),
                ..OfferItem::new(&offer.key, 0, &offer.load)
            })
            .collect();
        let scopes = self.scopes(line);
        if let [scope] = scopes.as_slice() {
            return self.offer_items(scope, "a", &items, spilling).await;
        }
        // J4 on Cluster: a job that waits in a higher lane absorbs the offer; one in a lower lane gives way to it.
        let mut answers = vec![String::from("0"); items.len()];
        for scope in &scopes {
            let lane = scope.lane(1);
            for (mode, wanted) in [("c", false), ("a", true)] {
                let here: Vec<usize> = (0..items.len())
                    .filter(|i| answers[*i] == "0" && if wanted { items[*i].lane == lane } else { items[*i].lane > lane })
                    .collect();
                if here.is_empty() {
                    continue;
                }
                let part: Vec<OfferItem> = here.iter().map(|i| items[*i].clone()).collect();
                for (i, answer) in here.into_iter().zip(self.offer_items(scope, mode, &part, spilling).await?) {
                    answers[i] = answer;
                }
            }
        }
        self.withdraw_lower(&scopes, &mut items, &mut answers, spilling).await?;
        Ok(answers)
    }

    /// Cluster: jobs of lower lanes whose keys now have one in a higher lane hand over their loads and go.
    async fn withdraw_lower(
        &self,
        scopes: &[Scope],
        items: &mut [OfferItem],
        answers: &mut [String],
        spilling: &[bool],
    ) -> Result<(), Fault> {
        for scope in scopes.iter().skip(1) {
            let lane = scope.lane(1);
            let above: Vec<usize> = (0..items.len()).filter(|i| items[*i].lane < lane && answers[*i] == "1").collect();
            if above.is_empty() {
                continue;
            }
            let mut args = vec![arg("w")];
            args.extend(above.iter().map(|i| items[*i].base.clone().into_bytes()));
            let loads: Vec<String> = self.run(scope, &self.inner.scripts.forget, args).await?;
            for (i, load) in above.into_iter().zip(loads).filter(|(_, load)| !load.is_empty()) {
                items[i].load = load;
                answers[i] = "2".into();
                if let Some(own) = scopes.iter().find(|s| s.lane(1) == items[i].lane) {
                    self.offer_items(own, "s", std::slice::from_ref(&items[i]), spilling).await?;
                }
            }
        }
        Ok(())
    }

    /// Offers in one scope. `mode` as in `offer.lua`.
    pub(super) async fn offer_items(
        &self,
        scope: &Scope,
        mode: &str,
        items: &[OfferItem],
        spilling: &[bool],
    ) -> Result<Vec<String>, Fault> {
        let Inner { names, rules, scripts, .. } = &*self.inner;
        let spilled = |lane: &Lane| if spilling.get(usize::from(lane.0)).copied().unwrap_or(false) { '1' } else { '0' };
        let line = scope.line.as_str();
        let digits: String = scope.lanes.iter().map(spilled).collect();
        // Lane by lane, each offer's place remembered. A scope that only coalesces need not hold the offer's lane.
        let number = |item: &OfferItem| scope.number(item.lane).unwrap_or(1);
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|i| number(&items[*i]));
        let of_each = (1..=scope.lanes.len()).map(|lane| items.iter().filter(|item| number(item) == lane).count().to_string());
        let of_each = of_each.collect::<Vec<_>>().join(",");
        let mut seen = HashSet::with_capacity(items.len());
        let twice = u8::from(!items.iter().all(|item| seen.insert(item.base.as_str())));
        let mut args = vec![arg(rules.max_pending), arg(digits), arg(mode), arg(of_each), arg(twice)];
        let shared = message::type_field(line);
        let of_lane = |lane: &Lane| message::lane_fields(&names.queue(scope.line, *lane), rules.retries);
        let of_lanes: Vec<Vec<u8>> = scope.lanes.iter().map(of_lane).collect();
        let in_order = || order.iter().map(|i| &items[*i]);
        args.extend(in_order().map(|item| item.base.clone().into_bytes()));
        args.extend(in_order().map(|item| {
            let mut msg = shared.clone();
            msg.extend(message::payload_field(message::payload(line, item.row.as_str())));
            msg.extend(message::id_field(&item.base));
            msg.extend_from_slice(of_lanes.get(number(item) - 1).map_or(&[], Vec::as_slice));
            msg.extend(message::header_fields(&item.types));
            msg
        }));
        args.extend(in_order().map(|item| match item.load.strip_prefix("0,0,").filter(|_| item.gen_text.is_empty()) {
            Some(rest) => format!("{rest}/").into_bytes(),
            None => format!(">{}|{}", item.gen_text, item.load).into_bytes(),
        }));
        let answers: Vec<String> = self.run(scope, &scripts.offer, args).await?;
        if answers.is_empty() {
            return Ok(vec![String::from("1"); items.len()]);
        }
        let mut placed = vec![String::from("0"); items.len()];
        order.into_iter().zip(answers).for_each(|(i, answer)| placed[i] = answer);
        Ok(placed)
    }
}

/// An offer as the script takes it.
#[derive(Clone)]
pub(super) struct OfferItem {
    pub(super) row: RowKey,
    pub(super) base: String,
    pub(super) lane: Lane,
    pub(super) types: String,
    /// Names the overflow's row the job comes from.
    pub(super) gen_text: String,
    pub(super) load: String,
}

impl OfferItem {
    pub(super) fn new(key: &JobKey, attempts: u32, load: &Load) -> Self {
        let (row, base, types) = (key.row.clone(), keys::base(&key.row), record::types(load));
        Self { row, base, lane: Lane(0), types, gen_text: String::new(), load: record::pack(attempts, load) }
    }
}

/// A buried job whose lane is full goes to the overflow with what it carried: `3<lane>|<load>`.
fn revived(offer: &Offer, code: &str) -> Offer {
    let mut offer = offer.clone();
    if let Some((_, load)) = code.split_once('|').and_then(|(_, load)| record::unpack(load)) {
        offer.load = load;
    }
    offer
}

type Answered = (Vec<(usize, Offered)>, Vec<(usize, Offer)>, Vec<bool>);

/// Offers whose keys lie aside coalesce there; the others are left, with which lanes spill.
fn onto_asides(overflow: &mut Overflow, line: Name, offers: Vec<(usize, Offer)>) -> Result<Answered, Fault> {
    let (mut answered, mut left) = (Vec::new(), Vec::new());
    overflow.look_at(offers.iter().map(|(_, offer)| &offer.key))?;
    for (at, offer) in offers {
        match overflow.coalesce(&offer.key, offer.lane, &offer.load)? {
            Some(answer) => answered.push((at, answer)),
            None => left.push((at, offer)),
        }
    }
    Ok((answered, left, overflow.spilling(line)?))
}
