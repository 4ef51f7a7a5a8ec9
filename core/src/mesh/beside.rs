//! Rounds of a pair's two paths that lie next to each other.

/// Keeps a round of either path until one of the other comes.
#[derive(Clone, Debug)]
pub(super) struct Beside<T>([Option<T>; 2]);

impl<T> Default for Beside<T> {
    fn default() -> Self {
        Self([None, None])
    }
}

impl<T> Beside<T> {
    /// Adds a round; `pods`: of `pod-to-pod`. Where the last one of the other path `fits`, both
    /// are given, `host-to-host` first, and neither is used again.
    pub(super) fn add(
        &mut self,
        pods: bool,
        round: T,
        fits: impl FnOnce(&T, &T) -> bool,
    ) -> Option<[T; 2]> {
        let [host, pod] = &mut self.0;
        let (mine, others) = if pods { (pod, host) } else { (host, pod) };
        match others.take_if(|other| fits(other, &round)) {
            Some(other) => {
                *mine = None;
                Some(if pods { [other, round] } else { [round, other] })
            }
            None => {
                *mine = Some(round);
                None
            }
        }
    }
}
