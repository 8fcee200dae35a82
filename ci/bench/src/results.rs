//! What has been measured, and the figures that stand for it.

use crate::registry::{Kind, Row};
use crate::stats;
use crate::workloads::{Sample, Workload};

/// The row that the others are set against.
pub const OURS: &str = "fabric-mq";
/// The same with messages of a length that the compiler knows, as it does with peers whose elements have one size.
pub const OURS_ARRAYS: &str = "fabric-mq, arrays";
/// The first, read by a call that takes what waits.
pub const OURS_DRAINED: &str = "fabric-mq, for_each";
/// Both.
pub const OURS_ARRAYS_DRAINED: &str = "fabric-mq, arrays, for_each";
/// Written in batches and read by that call.
pub const OURS_IN_BATCHES: &str = "fabric-mq, batches";

/// The implementations of one workload and payload size.
#[derive(Debug)]
pub struct Table {
    pub workload: Workload,
    pub size: usize,
    pub cells: Vec<Cell>,
}

/// All rounds of one implementation.
#[derive(Debug)]
pub struct Cell {
    pub row: Row,
    pub samples: Vec<Sample>,
}

impl Cell {
    pub fn new(row: Row) -> Self {
        Self { row, samples: Vec::new() }
    }

    /// The time that ranks a round: per message, or the median of the single ones.
    fn ranking(sample: &Sample) -> f64 {
        sample.trip.map_or(sample.mean_ns, |trip| trip.p50)
    }

    /// Nanoseconds: the median over the rounds of [`Self::ranking`].
    pub fn ns(&self) -> f64 {
        self.median(Self::ranking)
    }

    pub fn min_ns(&self) -> f64 {
        stats::smallest(self.samples.iter().map(Self::ranking))
    }

    pub fn max_ns(&self) -> f64 {
        stats::largest(self.samples.iter().map(Self::ranking))
    }

    /// Our speed in the other's: the median over the rounds of the ratio within the round. Both ran within a moment
    /// of each other there, so that a machine which changes its pace between two rounds does not change the ratio.
    pub fn speed_in(&self, other: &Self) -> f64 {
        stats::median(self.samples.iter().zip(&other.samples).map(|(a, b)| Self::ranking(b) / Self::ranking(a)))
    }

    pub fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        stats::median(self.samples.iter().map(of))
    }
}

impl Table {
    pub fn cell(&self, name: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.row.name == name)
    }

    /// The fastest of a kind.
    pub fn best(&self, of: impl Fn(Kind) -> bool) -> Option<&Cell> {
        self.best_of(|row| of(row.kind))
    }

    /// The fastest of some.
    pub fn best_of(&self, of: impl Fn(&Row) -> bool) -> Option<&Cell> {
        self.cells.iter().filter(|cell| of(&cell.row)).min_by(|a, b| a.ns().total_cmp(&b.ns()))
    }

    /// Fastest first.
    pub fn ranked(&self) -> Vec<&Cell> {
        let mut cells: Vec<&Cell> = self.cells.iter().collect();
        cells.sort_by(|a, b| a.ns().total_cmp(&b.ns()));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Mode;

    fn cell(name: &'static str, kind: Kind, rounds: &[f64]) -> Cell {
        let run = |_| Sample { mean_ns: 0.0, trip: None };
        let row = Row { workload: Workload::Lap, size: 64, name, kind, mode: Mode::Record, run };
        let samples = rounds.iter().map(|&mean_ns| Sample { mean_ns, trip: None }).collect();
        Cell { row, samples }
    }

    #[test]
    fn a_change_of_pace_does_not_change_a_ratio() {
        let ours = cell("ours", Kind::Ours, &[2.0, 20.0, 2.2, 22.0, 2.1]);
        let other = cell("other", Kind::Lends, &[4.0, 40.0, 4.4, 44.0, 4.2]);
        assert!((ours.speed_in(&other) - 2.0).abs() < 1e-9);
        assert!((other.speed_in(&ours) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn ranked_by_the_median() {
        let cells = vec![
            cell("steady", Kind::CopiesOut, &[5.0, 5.0, 5.0]),
            cell("floor", Kind::Floor, &[1.0, 1.0, 1.0]),
            cell("uneven", Kind::Lends, &[1.0, 6.0, 9.0]),
        ];
        let table = Table { workload: Workload::Lap, size: 64, cells };
        let names: Vec<_> = table.ranked().iter().map(|cell| cell.row.name).collect();
        assert_eq!(names, ["floor", "steady", "uneven"]);
        assert_eq!(table.best(Kind::is_rival).map(|cell| cell.row.name), Some("steady"));
        assert_eq!(table.best(|kind| kind == Kind::Ours).map(Cell::ns), None);
        let uneven = table.cell("uneven").expect("it is there");
        let steady = table.cell("steady").expect("it is there");
        assert_eq!(uneven.speed_in(steady), 5.0 / 6.0);
        assert_eq!((uneven.min_ns(), uneven.ns(), uneven.max_ns()), (1.0, 6.0, 9.0));
    }
}
