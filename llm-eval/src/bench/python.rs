//! What of Python's text functions and random numbers the harness's figures rest on.

/// White space as `str.strip` and `\s` see it in Python.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `text.strip()`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `len(re.split(r"\s+", text))`.
pub(crate) fn count_words(text: &str) -> usize {
    let mut separators = 0;
    let mut inside = false;
    for c in text.chars() {
        let space = is_space(c);
        separators += usize::from(space && !inside);
        inside = space;
    }
    separators + 1
}

/// Words of the generator's state.
const N: usize = 624;
const M: usize = 397;

/// Python's `random.Random(seed)`: the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), and
/// `sample` as CPython does it.
#[derive(Debug, Clone)]
pub struct PythonRandom {
    state: Vec<u32>,
    index: usize,
}

impl PythonRandom {
    /// `random.Random(seed)`.
    pub fn new(seed: u32) -> Self {
        let mut state = vec![0u32; N];
        state[0] = 19_650_218;
        for i in 1..N {
            let last = state[i - 1];
            state[i] = 1_812_433_253u32
                .wrapping_mul(last ^ (last >> 30))
                .wrapping_add(i as u32);
        }
        // `init_by_array` with a key of one word.
        let mut i = 1;
        for _ in 0..N {
            let last = state[i - 1];
            state[i] =
                (state[i] ^ (last ^ (last >> 30)).wrapping_mul(1_664_525)).wrapping_add(seed);
            i = next_index(i, &mut state);
        }
        for _ in 0..N - 1 {
            let last = state[i - 1];
            state[i] = (state[i] ^ (last ^ (last >> 30)).wrapping_mul(1_566_083_941))
                .wrapping_sub(i as u32);
            i = next_index(i, &mut state);
        }
        state[0] = 0x8000_0000;
        Self { state, index: N }
    }

    fn next_u32(&mut self) -> u32 {
        if self.index == N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
            }
            self.index = 0;
        }
        let mut y = self.state[self.index];
        self.index += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number below `n`, which is at least 1 and below 2³².
    fn below(&mut self, n: usize) -> usize {
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let drawn = (self.next_u32() >> (32 - bits.clamp(1, 32))) as usize;
            if drawn < n {
                return drawn;
            }
        }
    }

    /// `sample(range(n), k)`; `None` when `k` is larger than `n`.
    pub fn sample(&mut self, n: usize, k: usize) -> Option<Vec<usize>> {
        if k > n {
            return None;
        }
        let mut set_size = 21;
        if k > 5 {
            set_size += 4usize.pow(((k * 3) as f64).log(4.0).ceil() as u32);
        }
        let mut sample = Vec::with_capacity(k);
        if n <= set_size {
            let mut pool: Vec<usize> = (0..n).collect();
            for i in 0..k {
                let j = self.below(n - i);
                sample.push(pool[j]);
                pool[j] = pool[n - i - 1];
            }
        } else {
            while sample.len() < k {
                let j = self.below(n);
                if !sample.contains(&j) {
                    sample.push(j);
                }
            }
        }
        Some(sample)
    }
}

fn next_index(i: usize, state: &mut [u32]) -> usize {
    if i + 1 < N {
        return i + 1;
    }
    state[0] = state[N - 1];
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_re_split_counts_them() {
        assert_eq!(count_words("two words"), 2);
        assert_eq!(count_words("  two\u{3000}\n words "), 4);
        assert_eq!(count_words(""), 1);
    }
}
