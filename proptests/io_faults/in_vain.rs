//! Whether it is any use to wait for what needs a disk that stays broken.

/// After so many looks at a disk that is asked for nothing more, nothing will come. Whoever asks again does so once a second,
/// which takes more looks than this.
const LOOKS: u32 = 100;

/// After so many nothing will come although somebody asks all the time.
const LOOKS_IN_ALL: u32 = 10_000;

/// Counts looks. As long as requests go on being refused, somebody still tries, however long that takes.
#[derive(Debug, Default)]
pub struct InVain {
    refused: u64,
    looks: u32,
    in_all: u32,
}

impl InVain {
    /// One look more: so many requests were refused by now. Whether nothing will come.
    pub fn after(&mut self, refused: u64) -> bool {
        if self.refused != refused {
            (self.refused, self.looks) = (refused, 0);
        }
        self.looks += u32::from(refused > 0);
        self.in_all += u32::from(refused > 0);
        self.looks > LOOKS || self.in_all > LOOKS_IN_ALL
    }
}
