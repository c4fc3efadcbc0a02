//! What a picture of losses shows: the curves and the ranges of the axes.

use std::ops::Range;

use llm_lora::Event;

/// A curve's points are thinned out to the least and the greatest of each such part of the steps.
const COLUMNS: u64 = 720;
/// Epochs whose ends are marked; more would crowd.
const MAX_EPOCHS: usize = 30;

/// Step and loss; a loss that is not finite leaves a gap.
pub(super) type Point = (u32, f64);

/// What is drawn.
pub(super) struct Curves {
    pub(super) training: Vec<Point>,
    pub(super) smoothed: Vec<Point>,
    pub(super) weight: f64,
    pub(super) evaluation: Vec<Point>,
    pub(super) epochs: Vec<u32>,
    pub(super) x: Range<u32>,
    pub(super) y: Range<f64>,
}

impl Curves {
    pub(super) fn new(events: &[Event]) -> Self {
        let (mut training, mut evaluation, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
        let mut epochs_done = 0.0;
        for event in events {
            let (step, epoch) = match event {
                Event::Step(step) => {
                    training.push(point(step.step, step.loss));
                    (step.step, step.epoch)
                }
                Event::Evaluation(evaluated) => {
                    evaluation.push(point(evaluated.step, evaluated.eval_loss));
                    continue;
                }
                Event::Skipped(skipped) => {
                    training.push(point(skipped.step, f64::NAN));
                    (skipped.step, skipped.epoch)
                }
                _ => continue,
            };
            if (epoch + 1e-6).floor() > epochs_done {
                epochs_done = (epoch + 1e-6).floor();
                epochs.push(to_u32(step));
            }
        }
        let steps = || training.iter().chain(&evaluation).map(|point| point.0);
        let last = steps().max().unwrap_or(0);
        // A run begins before its first step, at 0.
        let first = steps().min().filter(|&step| step > 1).unwrap_or(0);
        epochs.retain(|&step| first < step && step < last);
        if epochs.len() > MAX_EPOCHS {
            epochs.clear();
        }
        let weight = (1.0 - 50.0 / training.len().max(1) as f64).clamp(0.6, 0.999);
        let y = loss_range(&training, &evaluation);
        Self {
            smoothed: smooth(&training, weight, &y),
            weight,
            y,
            x: first.min(u32::MAX - 1)..last.max(first.saturating_add(1)),
            training,
            evaluation,
            epochs,
        }
    }

    /// The points that a curve is drawn through, in pieces between its gaps.
    pub(super) fn pieces(&self, points: &[Point]) -> Vec<Vec<Point>> {
        let width = u64::from(self.x.end - self.x.start) + 1;
        let column =
            |&(step, _): &Point| u64::from(step.saturating_sub(self.x.start)) * COLUMNS / width;
        let mut pieces = vec![Vec::new()];
        for points in points.chunk_by(|a, b| column(a) == column(b)) {
            let finite = || {
                points
                    .iter()
                    .enumerate()
                    .filter(|(_, point)| point.1.is_finite())
            };
            let least = finite().min_by(|a, b| a.1.1.total_cmp(&b.1.1));
            let greatest = finite().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
            match (least, greatest, pieces.last_mut()) {
                (Some(a), Some(b), Some(piece)) => {
                    let ends = [points[a.0.min(b.0)], points[a.0.max(b.0)]];
                    let inside = |(step, loss): Point| (step, loss.clamp(self.y.start, self.y.end));
                    piece.extend(ends.map(inside));
                    piece.dedup();
                }
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}

fn to_u32(step: usize) -> u32 {
    u32::try_from(step).unwrap_or(u32::MAX)
}

/// Losses come from `f32`; what is beyond is no loss.
fn point(step: usize, loss: f64) -> Point {
    let finite = (loss as f32).is_finite();
    (to_u32(step), if finite { loss } else { f64::NAN })
}

fn smooth(points: &[Point], weight: f64, range: &Range<f64>) -> Vec<Point> {
    let (mut mean, mut bias) = (0.0, 1.0);
    let next = |&(step, loss): &Point| {
        if !loss.is_finite() {
            return (step, f64::NAN);
        }
        mean = weight * mean + (1.0 - weight) * loss.clamp(range.start, range.end);
        bias *= weight;
        (step, mean / (1.0 - bias))
    };
    points.iter().map(next).collect()
}

/// The losses that the picture spans: all, but for those that would press the inner four fifths of
/// them into less than a seventh of it. Where the run began is always in it: the median of the first
/// five losses, and the first evaluation.
fn loss_range(training: &[Point], evaluation: &[Point]) -> Range<f64> {
    let sorted = |points: &mut dyn Iterator<Item = &Point>| {
        let mut losses: Vec<f64> = points.map(|point| point.1).collect();
        losses.retain(|loss| loss.is_finite());
        losses.sort_by(f64::total_cmp);
        losses
    };
    let all = sorted(&mut training.iter().chain(evaluation));
    if all.is_empty() {
        return 0.0..1.0;
    }
    // Rounded, so that nothing is left out of fewer than five.
    let tenth = (all.len() + 5) / 10;
    let (low, high) = (all[tenth], all[all.len() - 1 - tenth]);
    let size = |low: f64, high: f64| low.abs().max(high.abs());
    let reach = 3.0 * (high - low).max(0.1 * size(low, high));
    let near = |loss: &f64| (low - reach..=high + reach).contains(loss);
    let first_five = sorted(&mut training.iter().take(5));
    let begin = first_five.get(first_five.len() / 2).copied();
    let first_evaluation = evaluation.first().map(|point| point.1);
    let begins = begin.into_iter().chain(first_evaluation);
    let shown = || all.iter().copied().filter(near).chain(begins.clone());
    let least = shown().fold(f64::INFINITY, f64::min);
    let greatest = shown().fold(f64::NEG_INFINITY, f64::max);

    let margin = match greatest - least {
        span if span > 1e-3 * size(least, greatest) => 0.05 * span,
        _ if size(least, greatest) > 0.0 => 0.05 * size(least, greatest),
        _ => 1.0,
    };
    let floor = if all[0] >= 0.0 {
        0.0
    } else {
        f64::NEG_INFINITY
    };
    (least - margin).max(floor)..greatest + margin
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use llm_lora::{Evaluation, Skipped, Step};

    pub(crate) fn step(step: usize, epoch: f64, loss: f64) -> Event {
        Event::Step(Step {
            step,
            total_steps: 0,
            epoch,
            loss,
            learning_rate: 1e-4,
            grad_norm: 1.0,
            tokens: 100,
            supervised_tokens: 50,
            seconds: 0.5,
        })
    }

    pub(crate) fn evaluation(step: usize, eval_loss: f64) -> Event {
        Event::Evaluation(Evaluation {
            step,
            epoch: 0.0,
            eval_loss,
            seconds: 1.0,
        })
    }

    /// A run of one epoch with these losses.
    pub(crate) fn run(losses: &[f64]) -> Vec<Event> {
        let epoch = |i: usize| (i + 1) as f64 / losses.len() as f64;
        let step = |(i, &loss): (usize, &f64)| step(i + 1, epoch(i), loss);
        losses.iter().enumerate().map(step).collect()
    }

    /// Between 2 and 3, without order.
    pub(crate) fn noise(count: usize) -> Vec<f64> {
        (0..count)
            .map(|i| 2.0 + (i * 7919 % 1000) as f64 / 1000.0)
            .collect()
    }

    /// `pandas.Series([3, 2, nan, 2.5, 1]).ewm(alpha=0.4, adjust=True, ignore_na=True).mean()` of
    /// pandas 3.1.1, which fills the gap.
    #[test]
    fn smoothing_is_that_of_pandas() {
        let points = [3.0, 2.0, f64::NAN, 2.5, 1.0].map(|loss| (1, loss));
        let smoothed = smooth(&points, 0.6, &(0.0..10.0));
        let golden = [
            3.0,
            2.375,
            f64::NAN,
            2.438_775_510_204_081_3,
            1.777_573_529_411_764_3,
        ];
        for ((_, ours), theirs) in smoothed.into_iter().zip(golden) {
            assert!((ours - theirs).abs() < 1e-12 || ours.is_nan() && theirs.is_nan());
        }
    }

    #[test]
    fn a_spike_flattens_nothing() {
        let mut losses = noise(500);
        (losses[250], losses[400]) = (1e6, 1e30);
        let curves = Curves::new(&run(&losses));
        assert!(curves.y.start > 1.5 && curves.y.end < 3.5, "{:?}", curves.y);
        assert!(curves.smoothed.iter().all(|point| point.1 < 3.0));
    }

    #[test]
    fn the_descent_and_a_divergence_stay_in_the_picture() {
        let descent: Vec<f64> = [11.0, 10.9, 10.8, 9.0, 6.0]
            .into_iter()
            .chain(noise(5000))
            .collect();
        let mut events = run(&descent);
        assert!(Curves::new(&events).y.end > 10.8);
        events.insert(0, evaluation(0, 11.8));
        assert!(Curves::new(&events).y.end > 11.8);
        let y = Curves::new(&run(&[5.0, 0.5])).y;
        assert!(y.start < 0.5 && y.end > 5.0, "{y:?}");
        let divergence: Vec<f64> = noise(500).into_iter().chain([40.0; 200]).collect();
        let y = Curves::new(&run(&divergence)).y;
        assert!(y.end > 40.0, "{y:?}");
        let mut evaluated = run(&noise(100));
        evaluated.push(evaluation(100, 4.5));
        let y = Curves::new(&evaluated).y;
        assert!(y.end > 4.5, "{y:?}");
    }

    #[test]
    fn what_is_not_finite_or_was_skipped_is_a_gap() {
        let mut events = run(&[3.0, 2.9, f64::NAN, 2.7, f64::INFINITY, 2.5, 2.4, 2.3]);
        events[6] = Event::Skipped(Skipped {
            step: 7,
            epoch: 0.9,
            skipped: "loss".to_owned(),
            samples: vec![0],
            seconds: 0.1,
        });
        let curves = Curves::new(&events);
        for curve in [&curves.training, &curves.smoothed] {
            let pieces = curves.pieces(curve);
            let steps: Vec<Vec<u32>> = pieces
                .iter()
                .map(|piece| piece.iter().map(|point| point.0).collect())
                .collect();
            assert_eq!(steps, [vec![1, 2], vec![4], vec![6], vec![8]]);
        }
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let mut losses = noise(100_000);
        losses[70_000] = 1.5;
        losses
            .iter_mut()
            .step_by(3)
            .for_each(|loss| *loss = f64::NAN);
        losses[80_000] = 3.5;
        let mut events = run(&losses);
        events
            .extend((1..=100_000).map(|i| evaluation(i, if i % 2 == 0 { f64::NAN } else { 2.5 })));
        let curves = Curves::new(&events);
        let drawn = curves.pieces(&curves.training).concat();
        assert!(drawn.contains(&(70_001, 1.5)) && drawn.contains(&(80_001, 3.5)));
    }

    #[test]
    fn ends_of_epochs_are_marked_between_the_first_step_and_the_last() {
        let steps = |range: Range<usize>, per_epoch: usize| {
            let event = |i: usize| step(i, i as f64 / per_epoch as f64, 2.0);
            Curves::new(&range.map(event).collect::<Vec<_>>()).epochs
        };
        assert_eq!(steps(1..11, 4), [4, 8]);
        assert_eq!(steps(1..13, 4), [4, 8]);
        assert_eq!(steps(6..13, 4), [8]);
        assert_eq!(steps(1..4, 1), [1, 2]);
        assert!(steps(1..101, 1).is_empty());
    }
}
