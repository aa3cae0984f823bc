//! The memory of one verification, used again by the next: what the system would have to zero anew each time costs argon2 a quarter.

use argon2::Block;

/// Memory for argon2, kept between verifications by the pool. Wiped before it is kept: blocks of a first pass would let a password be
/// guessed without argon2's cost.
#[derive(Default)]
pub(super) struct Workspace {
    blocks: Vec<Block>,
}

impl Workspace {
    /// Room for so many blocks of 1 KiB; `None` without the memory.
    pub(super) fn blocks(&mut self, count: usize) -> Option<&mut [Block]> {
        if self.blocks.len() < count {
            // The old ones are not worth copying.
            self.blocks = Vec::new();
            self.blocks.try_reserve_exact(count).ok()?;
            self.blocks.resize(count, Block::new());
        }
        self.blocks.get_mut(..count)
    }

    /// How much it holds, in KiB.
    pub(super) fn size(&self) -> usize {
        self.blocks.len()
    }

    /// Forgets what the last verification left in the first `count` blocks.
    pub(super) fn wipe(&mut self, count: usize) {
        let count = count.min(self.blocks.len());
        self.blocks[..count].fill(Block::new());
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let all = self.blocks.len();
        self.wipe(all);
    }
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workspace({} KiB)", self.size())
    }
}
