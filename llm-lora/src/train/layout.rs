//! How the samples of a step fall into forwards.

use llm_data::Sample;

/// How samples are laid out in a forward. Each way computes the same loss; they differ in padding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packing {
    /// One sample a row, in their order, filled up to the longest of the micro-batch.
    None,
    /// One sample a row, rows of similar length together.
    Bucket,
    /// Several samples a row, one behind the other, without padding: positions restart with each, and
    /// none sees another.
    #[default]
    Pack,
}

/// The shape of forwards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) packing: Packing,
    /// The most samples of a padded forward.
    pub(super) rows: usize,
    /// The most tokens of a packed or bucketed forward, but for a longer sample, which has its own.
    pub(super) tokens: usize,
}

/// A sample and its index in its set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbered<'a> {
    pub(super) index: usize,
    pub(super) sample: &'a Sample,
}

impl Numbered<'_> {
    pub(super) fn len(&self) -> usize {
        self.sample.input_ids.len()
    }
}

/// Every sample of a set.
pub(super) fn numbered(samples: &[Sample]) -> Vec<Numbered<'_>> {
    let number = |(index, sample)| Numbered { index, sample };
    samples.iter().enumerate().map(number).collect()
}

/// A forward's rows, each of one or more samples.
pub(super) type Rows<'a> = Vec<Vec<Numbered<'a>>>;

impl Layout {
    /// Distributes samples over forwards.
    pub(super) fn forwards<'a>(&self, samples: &[Numbered<'a>]) -> Vec<Rows<'a>> {
        let row = |sample: &Numbered<'a>| vec![*sample];
        match self.packing {
            Packing::None => samples
                .chunks(self.rows)
                .map(|chunk| chunk.iter().map(row).collect())
                .collect(),
            Packing::Bucket => self.buckets(&longest_first(samples)),
            Packing::Pack => self
                .pack(&longest_first(samples))
                .into_iter()
                .map(|row| vec![row])
                .collect(),
        }
    }

    fn buckets<'a>(&self, samples: &[Numbered<'a>]) -> Vec<Rows<'a>> {
        let mut forwards: Vec<Rows> = Vec::new();
        for sample in samples {
            let fits = |rows: &&mut Rows| {
                let width = rows[0][0].len();
                rows.len() < self.rows && (rows.len() + 1) * width <= self.tokens
            };
            match forwards.last_mut().filter(fits) {
                Some(rows) => rows.push(vec![*sample]),
                None => forwards.push(vec![vec![*sample]]),
            }
        }
        forwards
    }

    /// Best fit: each sample goes where it leaves the least room.
    fn pack<'a>(&self, samples: &[Numbered<'a>]) -> Rows<'a> {
        let mut rows: Vec<(usize, Vec<Numbered>)> = Vec::new();
        for sample in samples {
            let length = sample.len();
            let fitting = rows.iter_mut().filter(|(room, _)| *room >= length);
            match fitting.min_by_key(|(room, _)| *room) {
                Some((room, row)) => {
                    *room -= length;
                    row.push(*sample);
                }
                None => rows.push((self.tokens.saturating_sub(length), vec![*sample])),
            }
        }
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

fn longest_first<'a>(samples: &[Numbered<'a>]) -> Vec<Numbered<'a>> {
    let mut samples = samples.to_vec();
    samples.sort_by_key(|sample| std::cmp::Reverse(sample.len()));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(packing: Packing, lengths: &[u32]) -> Vec<Vec<Vec<usize>>> {
        let sample = |length: &u32| Sample {
            input_ids: (0..*length).collect(),
            labels: vec![-100; *length as usize],
        };
        let samples: Vec<Sample> = lengths.iter().map(sample).collect();
        let layout = Layout {
            packing,
            rows: 2,
            tokens: 10,
        };
        let samples = numbered(&samples);
        let row = |row: &Vec<Numbered>| row.iter().map(Numbered::len).collect();
        let forwards = layout.forwards(&samples);
        forwards
            .iter()
            .map(|rows| rows.iter().map(row).collect())
            .collect()
    }

    #[test]
    fn packed_rows_leave_the_least_room() {
        let rows = lengths(Packing::Pack, &[3, 6, 12, 4, 7, 1]);
        assert_eq!(
            rows,
            [
                vec![vec![12]],
                vec![vec![7, 3]],
                vec![vec![6, 4]],
                vec![vec![1]]
            ]
        );
    }

    #[test]
    fn buckets_hold_rows_of_similar_length() {
        let rows = lengths(Packing::Bucket, &[1, 5, 20, 4, 2]);
        assert_eq!(
            rows,
            [
                vec![vec![20]],
                vec![vec![5], vec![4]],
                vec![vec![2], vec![1]]
            ]
        );
    }

    #[test]
    fn unpacked_rows_keep_their_order() {
        let rows = lengths(Packing::None, &[1, 5, 20]);
        assert_eq!(rows, [vec![vec![1], vec![5]], vec![vec![20]]]);
    }
}
