//! What became of each event.

use fabric_mq::dlq::Verdict;
use std::collections::BTreeMap;

/// Events by number, and what was seen of each network.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    events: Vec<Event>,
    pub(crate) networks: BTreeMap<String, Network>,
    /// Lines that are no events, and were not sent.
    pub(crate) left_out: u64,
}

#[derive(Debug)]
struct Event {
    network: String,
    processed: u32,
    failed: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) events: u64,
    /// Processed at the first try.
    pub(crate) at_once: u64,
    /// Processed after it had failed or been refused.
    pub(crate) later: u64,
    /// Processed more than once.
    pub(crate) twice: u64,
    /// Processed at the first try, behind one with a higher number that was, too.
    pub(crate) disordered: u64,
    last: Option<u64>,
}

impl Ledger {
    /// Enters an event; answers its number.
    pub(crate) fn sent(&mut self, network: &str) -> u64 {
        self.networks.entry(network.into()).or_default().events += 1;
        self.events.push(Event { network: network.into(), processed: 0, failed: 0 });
        self.events.len() as u64 - 1
    }

    /// Notes a verdict.
    pub(crate) fn saw(&mut self, number: u64, verdict: &Verdict) {
        let event = usize::try_from(number).ok().and_then(|number| self.events.get_mut(number));
        let Some(event) = event else { return };
        if *verdict != Verdict::Ack {
            event.failed += 1;
            return;
        }
        event.processed += 1;
        let Some(network) = self.networks.get_mut(&event.network) else { return };
        if event.processed > 1 {
            network.twice += 1;
        } else if event.failed > 0 {
            network.later += 1;
        } else {
            network.at_once += 1;
            network.disordered += u64::from(network.last.is_some_and(|last| last > number));
            network.last = Some(number);
        }
    }

    pub(crate) fn sum(&self, of: impl Fn(&Network) -> u64) -> u64 {
        self.networks.values().map(of).sum()
    }

    /// Whether each event was processed once, and those that never failed in order.
    pub(crate) fn is_right(&self) -> bool {
        self.events.iter().all(|event| event.processed == 1) && self.sum(|network| network.disordered) == 0
    }
}
