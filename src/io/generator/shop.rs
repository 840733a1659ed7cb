//! The shop: its books, its press and its log together.

use super::body::{Message, Press};
use super::chance::Chance;
use super::log::Log;
use super::trade::{RowEvent, Trade};
use super::truth::{self, Documents};
use crate::domain::ids::{Millis, Partition};
use crate::domain::record::Record;
use crate::settings::GeneratorSettings;
use std::collections::VecDeque;

/// A deterministic shop: one seed, one sequence of records, one truth.
///
/// Topics are `shop.shop.<table>`, partitioned by primary key. What stands in rows follows the shop's own clock; only the
/// times of the messages around them can be put on the wall's clock, by [`Shop::set_clock`].
#[derive(Debug)]
pub struct Shop {
    trade: Trade,
    press: Press,
    log: Log,
    events_max: Option<u64>,
    events: u64,
    clock: Option<Millis>,
    over: bool,
    ready: VecDeque<Record>,
    happened: Vec<RowEvent>,
    messages: Vec<Message>,
}

impl Shop {
    pub fn new(settings: &GeneratorSettings) -> Self {
        let mut chance = Chance::new(settings.seed);
        // Dice of their own: what happens in the shop does not depend on how its log is delivered, or in which format.
        let (traded, logged) = (Chance::new(chance.next()), Chance::new(chance.next()));
        Self {
            trade: Trade::new(settings, traded),
            press: Press::new(settings.format, settings.partitions),
            log: Log::new(settings, logged),
            events_max: settings.events,
            events: 0,
            clock: None,
            over: false,
            ready: VecDeque::new(),
            happened: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Every partition there is, also those that stay empty.
    pub fn partitions(&self) -> Vec<Partition> {
        self.log.partitions()
    }

    /// Up to `max` records in the order of delivery; empty when trading is over. Positions count the deliveries of a
    /// partition, offsets are the log's.
    pub fn next_records(&mut self, max: usize) -> Vec<Record> {
        while self.ready.len() < max && !self.over {
            if self.events_max.is_some_and(|events| self.events >= events) {
                self.close();
            } else {
                self.happen();
            }
        }
        let count = max.min(self.ready.len());
        self.ready.drain(..count).collect()
    }

    fn happen(&mut self) {
        let left = self.events_max.map_or(u64::MAX, |max| max - self.events);
        self.trade.happen(left, &mut self.happened);
        self.events += self.happened.len() as u64;
        let at = self.clock.unwrap_or(Millis(self.trade.now_ms()));
        self.press.print(&self.happened, at.0, &mut self.messages);
        self.happened.clear();
        for message in self.messages.drain(..) {
            self.log.append(message, at, &mut self.ready);
        }
        self.log.tick(&mut self.ready);
    }

    /// Ends trading now: what was held back is delivered, nothing new happens.
    pub fn close(&mut self) {
        if !self.over {
            self.over = true;
            self.log.flush(&mut self.ready);
        }
    }

    /// Nothing new will happen; records may still be owed.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Row changes so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The time of the messages from now on, instead of the shop's own.
    pub fn set_clock(&mut self, now: Millis) {
        self.clock = Some(now);
    }

    /// The documents of `order_search` and `product_search` once every record is delivered.
    pub fn expected(&self) -> Documents {
        truth::documents(&self.trade)
    }
}

#[cfg(test)]
mod tests;
