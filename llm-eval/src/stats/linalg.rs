//! Symmetric systems of equations, and Newton's method on them.

use crate::{Error, Result};

/// How many steps Newton's method may take.
const STEPS: usize = 200;

/// A symmetric matrix; only what [`Matrix::add`] puts there.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    pub(crate) size: usize,
    cells: Vec<f64>,
}

impl Matrix {
    pub(crate) fn zero(size: usize) -> Self {
        Self {
            size,
            cells: vec![0.0; size * size],
        }
    }

    pub(crate) fn get(&self, row: usize, column: usize) -> f64 {
        self.cells[row * self.size + column]
    }

    pub(crate) fn add(&mut self, row: usize, column: usize, value: f64) {
        self.cells[row * self.size + column] += value;
    }

    /// The lower triangle L with L·Lᵀ = the matrix; `None` where it is not positive definite.
    pub(crate) fn cholesky(&self) -> Option<Cholesky> {
        let n = self.size;
        let mut lower = self.cells.clone();
        for row in 0..n {
            for column in 0..=row {
                let dot: f64 = (0..column)
                    .map(|k| lower[row * n + k] * lower[column * n + k])
                    .sum();
                let rest = self.get(row, column) - dot;
                if row == column {
                    if rest <= 1e-13 * self.get(row, row).abs() || !rest.is_finite() {
                        return None;
                    }
                    lower[row * n + row] = rest.sqrt();
                } else {
                    lower[row * n + column] = rest / lower[column * n + column];
                }
            }
        }
        Some(Cholesky { size: n, lower })
    }
}

/// A matrix, divided so that systems of equations with it are solved.
#[derive(Debug, Clone)]
pub(crate) struct Cholesky {
    size: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// x with matrix · x = `right`.
    pub(crate) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let n = self.size;
        let mut x = right.to_vec();
        for row in 0..n {
            let dot: f64 = (0..row).map(|k| self.lower[row * n + k] * x[k]).sum();
            x[row] = (x[row] - dot) / self.lower[row * n + row];
        }
        for row in (0..n).rev() {
            let dot: f64 = (row + 1..n).map(|k| self.lower[k * n + row] * x[k]).sum();
            x[row] = (x[row] - dot) / self.lower[row * n + row];
        }
        x
    }
}

/// A convex function at a point.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) loss: f64,
    pub(crate) gradient: Vec<f64>,
    pub(crate) hessian: Matrix,
}

/// Where a convex function is least, and its Hessian there: Newton's method with halved steps, until
/// a step changes nothing by more than 10⁻¹⁰.
///
/// # Errors
/// Where there is no minimum: the function has no curvature in some direction, or falls forever.
pub(crate) fn minimise(
    what: &'static str,
    start: Vec<f64>,
    function: impl Fn(&[f64]) -> Value,
) -> Result<(Vec<f64>, Cholesky)> {
    let failed = |iterations| Error::NotConverged { what, iterations };
    let mut point = start;
    let mut here = function(&point);
    for iteration in 0..STEPS {
        let solver = here.hessian.cholesky().ok_or(failed(iteration))?;
        let step = solver.solve(&here.gradient);
        let longest = step.iter().fold(0.0_f64, |most, part| most.max(part.abs()));
        // Log-odds of this size have no data behind them.
        if point.iter().any(|part| part.abs() > 1e3) {
            return Err(failed(iteration));
        }
        let (mut share, mut next) = (1.0, None);
        while share > 1e-10 {
            let there: Vec<f64> = point
                .iter()
                .zip(&step)
                .map(|(part, step)| part - share * step)
                .collect();
            let value = function(&there);
            if value.loss <= here.loss + 1e-12 * here.loss.abs() {
                next = Some((there, value));
                break;
            }
            share /= 2.0;
        }
        let Some((there, value)) = next else {
            return Err(failed(iteration));
        };
        point = there;
        here = value;
        if longest < 1e-10 {
            let solver = here.hessian.cholesky().ok_or(failed(iteration))?;
            return Ok((point, solver));
        }
    }
    Err(failed(STEPS))
}

/// ln(1 + eˣ).
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// 1 / (1 + e⁻ˣ).
pub(crate) fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}
