package import DRPKit

/// A share of a repository's packs, chosen so that rounds that follow each other read all of them.
///
/// Each pack stands on a circle, where the hash in its name says. A round reads the packs in a window of the circle that
/// begins where the window of the round before it ended. So every pack that stays is read within `rounds` rounds,
/// whatever packs come and go meanwhile, and also if the share changes from one round to the next.
package struct VerifySample: Sendable, Hashable {
    /// The whole circle, in millionths.
    package static let circle = 1_000_000

    /// The window's width: 1 to `circle`.
    package let share: Int
    /// From 1.
    package let round: Int
    /// Where the window begins: 0 to `circle - 1`.
    package let position: Int

    /// - Parameters:
    ///   - share: is put into its range.
    ///   - position: is taken around the circle.
    package init(share: Int, round: Int = 1, position: Int = 0) {
        self.share = min(max(share, 1), Self.circle)
        self.round = max(round, 1)
        self.position = (position % Self.circle + Self.circle) % Self.circle
    }

    /// The next round's.
    package var next: VerifySample { VerifySample(share: share, round: round + 1, position: position + share) }

    /// How many rounds read everything that stays.
    package var rounds: Int { (Self.circle + share - 1) / share }

    /// How many more rounds complete the turn around the circle that this one is part of; 0 if this one does.
    package var roundsLeft: Int { (Self.circle - position - 1) / share }

    package func contains(_ pack: ContentHash) -> Bool {
        let number = pack.bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let point = Int(number % UInt64(Self.circle))
        return (point - position + Self.circle) % Self.circle < share
    }
}
