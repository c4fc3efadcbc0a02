//! `TokenBatch`: what goes into the model.

use std::ops::Range;

use crate::{Error, Result};

/// The segment of padding tokens.
pub(crate) const PADDING: i32 = 0;

/// Token ids `[batch, seq]` on the host, with the position of each token and the sequence
/// (segment) that it belongs to. Attention never crosses segments.
///
/// ```
/// use llm_core::TokenBatch;
///
/// let batch = TokenBatch::left_padded(&[vec![5, 6, 7], vec![8]], 0)?;
/// assert_eq!(batch.dims(), [2, 3]);
/// # Ok::<(), llm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    dims: [usize; 2],
    ids: Vec<i32>,
    positions: Vec<i32>,
    segments: Vec<i32>,
    /// Whether a token may stand before another of its row without being seen by it.
    segmented: bool,
}

impl TokenBatch {
    /// Rows of equal length.
    ///
    /// # Errors
    /// When there is no row, a row is empty, or lengths differ.
    pub fn new(rows: &[Vec<u32>]) -> Result<Self> {
        let lengths: Vec<_> = rows.iter().map(Vec::len).collect();
        match lengths.iter().all(|length| *length == lengths[0]) {
            true => Self::right_padded(rows, 0),
            false => Err(Error::Input(format!("rows of unequal lengths {lengths:?}"))),
        }
    }

    /// Rows of any length, filled up behind their end. Causal attention hides what is behind, so
    /// this costs no mask: the layout for training.
    ///
    /// # Errors
    /// When there is no row or a row is empty.
    pub fn right_padded(rows: &[Vec<u32>], pad_id: u32) -> Result<Self> {
        let rows: Vec<_> = rows.iter().map(|row| vec![row.as_slice()]).collect();
        let mut batch = Self::pack(&rows, pad_id)?;
        batch.segmented = false;
        Ok(batch)
    }

    /// Rows of any length, filled up before their start, so that all end together: the layout for
    /// generation.
    ///
    /// # Errors
    /// When there is no row or a row is empty.
    pub fn left_padded(rows: &[Vec<u32>], pad_id: u32) -> Result<Self> {
        let mut batch = Self::right_padded(rows, pad_id)?;
        let width = batch.dims[1];
        for (row, ids) in rows.iter().enumerate() {
            let span = row * width..(row + 1) * width;
            for values in [&mut batch.ids, &mut batch.positions, &mut batch.segments] {
                values[span.clone()].rotate_right(width - ids.len());
            }
            batch.segmented |= ids.len() < width;
        }
        Ok(batch)
    }

    /// Rows that each hold several sequences, one behind the other: positions restart, and no
    /// sequence sees another.
    ///
    /// # Errors
    /// When there is no row, or a row or sequence is empty.
    pub fn packed(rows: &[Vec<Vec<u32>>], pad_id: u32) -> Result<Self> {
        let rows: Vec<Vec<_>> = rows
            .iter()
            .map(|row| row.iter().map(Vec::as_slice).collect())
            .collect();
        Self::pack(&rows, pad_id)
    }

    fn pack(rows: &[Vec<&[u32]>], pad_id: u32) -> Result<Self> {
        if rows.is_empty()
            || rows
                .iter()
                .any(|row| row.iter().any(|s| s.is_empty()) || row.is_empty())
        {
            return Err(Error::Input("an empty batch, row or sequence".to_owned()));
        }
        let length = |row: &Vec<&[u32]>| row.iter().map(|sequence| sequence.len()).sum::<usize>();
        let width = rows.iter().map(length).max().unwrap_or(0);
        let mut batch = Self {
            dims: [rows.len(), width],
            ids: Vec::with_capacity(rows.len() * width),
            positions: Vec::with_capacity(rows.len() * width),
            segments: Vec::with_capacity(rows.len() * width),
            segmented: rows.iter().any(|row| row.len() > 1),
        };
        for (row, end) in rows.iter().zip((1..).map(|row| row * width)) {
            for (segment, sequence) in (PADDING + 1..).zip(row) {
                batch.extend(sequence, segment)?;
            }
            batch.ids.resize(end, to_i32(pad_id)?);
            batch.positions.resize(end, 0);
            batch.segments.resize(end, PADDING);
        }
        Ok(batch)
    }

    fn extend(&mut self, sequence: &[u32], segment: i32) -> Result<()> {
        for (position, id) in (0..).zip(sequence) {
            self.ids.push(to_i32(*id)?);
            self.positions.push(position);
            self.segments.push(segment);
        }
        Ok(())
    }

    /// `[batch, seq]`.
    pub fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// The token ids, row after row.
    pub fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// The position of every token in its sequence, row after row.
    pub fn positions(&self) -> &[i32] {
        &self.positions
    }

    pub(crate) fn segments(&self) -> &[i32] {
        &self.segments
    }

    pub(crate) fn is_segmented(&self) -> bool {
        self.segmented
    }

    /// Whether every row is one sequence, padded at its left if at all: what a cache can hold.
    pub(crate) fn is_one_sequence_a_row(&self) -> bool {
        self.segments
            .chunks(self.dims[1])
            .all(|row| row.is_sorted() && row.iter().all(|s| *s <= 1))
    }

    /// The columns `range` of every row, to go behind a cache of the columns before them: positions
    /// count from where the row's sequence is cut.
    pub(crate) fn columns(&self, range: Range<usize>) -> Self {
        let cut = |values: &[i32]| -> Vec<i32> {
            values
                .chunks(self.dims[1])
                .flat_map(|row| &row[range.clone()])
                .copied()
                .collect()
        };
        let mut columns = Self {
            dims: [self.dims[0], range.len()],
            ids: cut(&self.ids),
            positions: cut(&self.positions),
            segments: cut(&self.segments),
            segmented: self.segmented,
        };
        for (row, positions) in columns.positions.chunks_mut(range.len()).enumerate() {
            let segments = &self.segments[row * self.dims[1]..][..range.end];
            let cut = segments[range.start];
            if range.start > 0 && segments[range.start - 1] == cut {
                let first = positions[0];
                let same = segments[range.start..]
                    .iter()
                    .take_while(|segment| **segment == cut);
                positions
                    .iter_mut()
                    .zip(same)
                    .for_each(|(position, _)| *position -= first);
            }
        }
        columns
    }
}

fn to_i32(id: u32) -> Result<i32> {
    i32::try_from(id).map_err(|_| Error::Input(format!("token id {id}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_padding_moves_positions_and_marks_what_to_hide() {
        let batch = TokenBatch::left_padded(&[vec![5, 6, 7], vec![8]], 9).unwrap();
        assert_eq!(batch.ids(), [5, 6, 7, 9, 9, 8]);
        assert_eq!(batch.positions(), [0, 1, 2, 0, 0, 0]);
        assert_eq!(batch.segments(), [1, 1, 1, 0, 0, 1]);
        assert!(batch.is_segmented());
    }

    #[test]
    fn packing_restarts_positions() {
        let batch = TokenBatch::packed(&[vec![vec![1, 2], vec![3]], vec![vec![4]]], 0).unwrap();
        assert_eq!(batch.ids(), [1, 2, 3, 4, 0, 0]);
        assert_eq!(batch.positions(), [0, 1, 0, 0, 0, 0]);
        assert_eq!(batch.segments(), [1, 1, 2, 1, 0, 0]);
    }

    #[test]
    fn empty_and_ragged_input_is_an_error() {
        assert!(TokenBatch::new(&[]).is_err());
        assert!(TokenBatch::new(&[vec![]]).is_err());
        assert!(TokenBatch::new(&[vec![1], vec![1, 2]]).is_err());
        assert!(TokenBatch::new(&[vec![u32::MAX]]).is_err());
    }
}
