internal import DRPKit

/// Brings what steps say into the journal, in order, while they go on: those who watch from another process read it there.
final class RunOutput: Sendable {
    private let lines: AsyncStream<(step: String, text: String)>.Continuation
    private let writer: Task<Void, Never>

    /// Lines that may wait to be written; of more the oldest are lost.
    private static let mostWaiting = 1000

    init(_ journal: Journal, run: RunID) {
        let (stream, continuation) = AsyncStream.makeStream(
            of: (step: String, text: String).self, bufferingPolicy: .bufferingNewest(Self.mostWaiting))
        lines = continuation
        writer = Task {
            for await line in stream {
                // A journal that cannot be written ends the run by what it must write; these lines are for those who look on.
                try? await journal.appendOutput([line], run: run)
            }
        }
    }

    func say(_ step: String, _ text: String) { lines.yield((step, text)) }

    /// Waits until all is written.
    func end() async {
        lines.finish()
        await writer.value
    }
}
