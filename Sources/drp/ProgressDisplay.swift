internal import DRPKit
internal import Foundation
internal import Synchronization

/// Shows how long work goes on: one line that is redrawn on a terminal, a plain line each 10 seconds elsewhere.
final class ProgressDisplay: Sendable {
    private struct State {
        var started: ContinuousClock.Instant?
        var shown: ContinuousClock.Instant?
        var isLineOpen = false
    }

    private let isTerminal: Bool
    private let isSilent: Bool
    private let state = Mutex(State())

    /// - Parameter json: no progress is shown: the answer alone counts.
    init(json: Bool) {
        isSilent = json
        isTerminal = isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }

    /// - Parameters:
    ///   - label: what is being done, as `acme: mongo`.
    ///   - done, total: bytes; a total of 0 is not known.
    func show(_ label: String, done: Int64, total: Int64) {
        guard !isSilent else { return }
        state.withLock { state in
            let now = ContinuousClock.now
            let started = state.started ?? now
            state.started = started
            let pause: Duration = isTerminal ? .milliseconds(100) : .seconds(10)
            if let shown = state.shown, shown + pause > now { return }
            if state.shown == nil && !isTerminal {
                state.shown = now
                return
            }
            state.shown = now
            let seconds =
                Double((now - started).components.seconds) + Double((now - started).components.attoseconds) / 1e18
            let line = Self.line(label, done: done, total: total, seconds: seconds)
            if isTerminal {
                write("\r\u{1b}[K" + line)
                state.isLineOpen = true
            } else {
                write(line + "\n")
            }
        }
    }

    /// Removes the redrawn line, so that what follows stands clean; the next work starts its own clock.
    func end() {
        state.withLock { state in
            if state.isLineOpen { write("\r\u{1b}[K") }
            state = State()
        }
    }

    static func line(_ label: String, done: Int64, total: Int64, seconds: Double) -> String {
        let rate = seconds > 0.2 ? Double(done) / seconds : 0
        var parts = [label, Text.bytes(done)]
        if total > 0 {
            parts[1] += " of about \(Text.bytes(total))"
            let share = min(1, Double(done) / Double(total))
            let filled = Int(share * 20)
            parts.insert(
                "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: 20 - filled) + "]", at: 1)
        }
        if rate > 0 {
            parts.append("\(Text.bytes(Int64(rate)))/s")
            if total > done { parts.append("\(Text.seconds(Double(total - done) / rate)) left") }
        }
        return parts.joined(separator: "  ")
    }

    private func write(_ text: String) {
        // Progress that cannot be shown is no failure.
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}
