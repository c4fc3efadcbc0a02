//! The product on processors with AVX-512: panels packed for the tiles of `avx512.rs`.

use std::cell::RefCell;
use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::super::avx512::{
    LANES, TILE_ROWS, TILE_VECTORS, Tile, round, tile_bf16, tile_f32, transpose,
};
use super::super::matrix::Values;
use super::{Shared, Term};

/// Columns of a panel.
const PANEL: usize = 48;

/// Units of `k` in a packed panel: 192 KiB.
const BLOCK: usize = 1024;

const _: () = assert!(PANEL == TILE_VECTORS * LANES);

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread packs into, kept from product to product.
#[derive(Default)]
struct Scratch {
    /// `[units, PANEL]`.
    panel: Vec<f32>,
    /// Decoded runs, as f32 and as bf16.
    decoded: Vec<f32>,
    rounded: Vec<bf16>,
}

/// A part of a sum: these rows and columns of the result, over these units.
struct Part {
    rows: Range<usize>,
    columns: Range<usize>,
    units: Range<usize>,
}

/// A term whose left factor is ready: in units of 32 bits.
struct Ready<'a> {
    term: Term<'a>,
    bf16: bool,
    units: usize,
    a: *const f32,
    a_strides: [usize; 2],
    _rounded: Vec<bf16>,
}
// SAFETY: the pointer is to the term's left factor, or to its rounded copy; both are only read.
unsafe impl Sync for Ready<'_> {}

/// # Safety
/// As the function around it, on a processor with AVX-512.
pub(super) unsafe fn write(
    out: *mut f32,
    [m, n]: [usize; 2],
    terms: &[Term<'_>],
    accumulate: bool,
) {
    let terms: Vec<Ready> = terms.iter().map(|term| Ready::new(*term, m)).collect();
    let panels = n.div_ceil(PANEL);
    // Few panels are cut into groups of rows, so that every thread has some.
    let wanted = (4 * rayon::current_num_threads()).div_ceil(panels);
    let group = m.div_ceil(wanted).next_multiple_of(TILE_ROWS);
    let groups = m.div_ceil(group);
    let out = Shared(out);
    (0..panels * groups).into_par_iter().for_each(|task| {
        let (panel, group_index) = (task / groups, task % groups);
        let columns = panel * PANEL..n.min((panel + 1) * PANEL);
        let rows = group_index * group..m.min((group_index + 1) * group);
        let part = |units| Part {
            rows: rows.clone(),
            columns: columns.clone(),
            units,
        };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut accumulate = accumulate;
            for term in &terms {
                for start in (0..term.units).step_by(BLOCK) {
                    let units = start..term.units.min(start + BLOCK);
                    // SAFETY: tasks have rows and columns of their own; AVX-512 was detected.
                    unsafe { term.add(out.at(0), n, &part(units), accumulate, scratch) };
                    accumulate = true;
                }
            }
        });
    });
}

impl<'a> Ready<'a> {
    fn new(term: Term<'a>, m: usize) -> Self {
        let k = term.k();
        let bf16 = term.bf16 && term.a.strides[1] == 1 && is_x86_feature_detected!("avx512bf16");
        if !bf16 {
            let (a, a_strides) = (term.a.values.as_ptr(), term.a.strides);
            return Self {
                term,
                bf16,
                units: k,
                a,
                a_strides,
                _rounded: Vec::new(),
            };
        }
        let units = k.div_ceil(2);
        let mut rounded = vec![bf16::ZERO; m * 2 * units];
        rounded
            .par_chunks_mut(2 * units)
            .zip(term.a.values.par_chunks(k))
            .with_min_len(32)
            .for_each(|(to, from)| {
                // SAFETY: AVX-512 BF16 was detected.
                unsafe { round(&from[..k], &mut to[..k]) };
            });
        let a = rounded.as_ptr().cast();
        Self {
            term,
            bf16,
            units,
            a,
            a_strides: [units, 1],
            _rounded: rounded,
        }
    }

    /// Adds a part of the sum to `out`, whose rows are `n` apart, or writes it there.
    ///
    /// # Safety
    /// `out` is valid for the part, and nothing else reads or writes it there; AVX-512 was detected.
    unsafe fn add(
        &self,
        out: *mut f32,
        n: usize,
        part: &Part,
        accumulate: bool,
        scratch: &mut Scratch,
    ) {
        let Part {
            rows,
            columns,
            units,
        } = part;
        let (b, b_stride) = match self.unpacked(part) {
            Some(b) => (b, self.term.b.shape[1]),
            None => {
                // SAFETY: AVX-512 was detected.
                unsafe { self.pack(columns, units, scratch) };
                (scratch.panel.as_ptr(), PANEL)
            }
        };
        let tile = if self.bf16 { tile_bf16 } else { tile_f32 };
        for row in rows.clone().step_by(TILE_ROWS) {
            let start = row * self.a_strides[0] + units.start * self.a_strides[1];
            // SAFETY: the left factor has these rows and units; the panel was filled for these units and
            // columns; `out` has these rows and columns.
            unsafe {
                let operands = Tile {
                    k: units.len(),
                    a: self.a.add(start),
                    a_strides: self.a_strides,
                    b,
                    b_stride,
                    c: out.add(row * n + columns.start),
                    c_stride: n,
                    columns: columns.len(),
                    accumulate,
                };
                tile((rows.end - row).min(TILE_ROWS), operands);
            }
        }
    }

    /// The right factor where it lies, if packing it would cost more than it gains: it is f32, not
    /// transposed, and serves a single row of tiles.
    fn unpacked(&self, part: &Part) -> Option<*const f32> {
        let worth_it = part.rows.len() <= TILE_ROWS && !self.term.transposed && !self.bf16;
        let whole_vectors = part.columns.len().is_multiple_of(LANES);
        match self.term.b.values {
            Values::F32(values) if worth_it && whole_vectors => {
                let start = part.units.start * self.term.b.shape[1] + part.columns.start;
                Some(values[start..].as_ptr())
            }
            _ => None,
        }
    }

    /// Fills the panel: a row of [`PANEL`] units for each unit of `k`.
    /// # Safety
    /// AVX-512 was detected, and BF16 with it if the term is of bf16.
    unsafe fn pack(&self, columns: &Range<usize>, units: &Range<usize>, scratch: &mut Scratch) {
        let k = match self.bf16 {
            true => 2 * units.start..(2 * units.end).min(self.term.k()),
            false => units.clone(),
        };
        // Rows of an odd length end with half a unit, the other half of which must be zero.
        let width = if self.term.transposed {
            k.len().next_multiple_of(2)
        } else {
            columns.len()
        };
        scratch
            .panel
            .resize(scratch.panel.len().max(units.len() * PANEL), 0.0);
        scratch
            .decoded
            .resize(scratch.decoded.len().max(width * LANES), 0.0);
        scratch
            .rounded
            .resize(scratch.rounded.len().max(width * LANES), bf16::ZERO);
        match self.term.transposed {
            // SAFETY: the caller's.
            true => unsafe { self.pack_transposed(columns, k, width, scratch) },
            false if self.bf16 => unsafe { self.pack_pairs(columns, k, scratch) },
            false => {
                for (k, to) in k.zip(scratch.panel.chunks_exact_mut(PANEL)) {
                    let run = self.term.b.run(k, columns.clone(), &mut scratch.decoded);
                    to[..run.len()].copy_from_slice(run);
                }
            }
        }
    }

    unsafe fn pack_transposed(
        &self,
        columns: &Range<usize>,
        k: Range<usize>,
        width: usize,
        scratch: &mut Scratch,
    ) {
        let units = if self.bf16 { width / 2 } else { k.len() };
        for (vector, first) in columns.clone().step_by(LANES).enumerate() {
            let mut rows = [std::ptr::null::<f32>(); LANES];
            let count = (columns.end - first).min(LANES);
            let decoded = scratch.decoded.chunks_exact_mut(width);
            let rounded = scratch.rounded.chunks_exact_mut(width);
            for (((row, pointer), decoded), rounded) in (first..columns.end)
                .zip(&mut rows)
                .zip(decoded)
                .zip(rounded)
            {
                *pointer = match self.bf16 {
                    true => {
                        // SAFETY: AVX-512 BF16 was detected.
                        unsafe { self.term.b.run_bf16(row, k.clone(), decoded, rounded) }.cast()
                    }
                    false => self.term.b.run(row, k.clone(), decoded).as_ptr(),
                };
            }
            // SAFETY: every row has been read for these units; the panel has a row for each unit.
            unsafe {
                transpose(
                    &rows[..count],
                    units,
                    scratch.panel.as_mut_ptr().add(vector * LANES),
                    PANEL,
                )
            };
        }
    }

    /// Pairs of rows become rows of pairs.
    unsafe fn pack_pairs(&self, columns: &Range<usize>, k: Range<usize>, scratch: &mut Scratch) {
        let width = columns.len();
        let (even, odd) = scratch.rounded.split_at_mut(width);
        for (k_even, to) in k
            .clone()
            .step_by(2)
            .zip(scratch.panel.chunks_exact_mut(PANEL))
        {
            // SAFETY: AVX-512 BF16 was detected.
            unsafe {
                self.term
                    .b
                    .copy_bf16(k_even, columns.clone(), &mut scratch.decoded, even);
                match k_even + 1 < k.end {
                    true => self.term.b.copy_bf16(
                        k_even + 1,
                        columns.clone(),
                        &mut scratch.decoded,
                        &mut odd[..width],
                    ),
                    false => odd[..width].fill(bf16::ZERO),
                }
            }
            for ((to, even), odd) in to.iter_mut().zip(&*even).zip(&*odd) {
                *to = f32::from_bits(u32::from(even.to_bits()) | u32::from(odd.to_bits()) << 16);
            }
        }
    }
}
