import DRPKit
import Foundation
import TestSupport

/// A FIFO by which processes say that they run, and by whose end a test knows that all of them have ended:
/// the kernel closes it when its last writer is gone. So no test needs to wait for a while and hope.
final class ReadyPipe: Sendable {
    struct Failure: Error {}

    let path: String
    private let descriptor: Int32
    private static let patience: Int32 = 20_000

    init(in folder: TemporaryFolder) throws {
        path = folder.path("ready")
        guard mkfifo(path, 0o600) == 0 else { throw Failure() }
        descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure() }
    }

    deinit { close(descriptor) }

    /// Returns once a process wrote anything.
    func ready() async throws {
        try await OwnThread.run("ready") { [self] in
            var bytes = [UInt8](repeating: 0, count: 256)
            guard waits(), Foundation.read(descriptor, &bytes, bytes.count) > 0 else { throw Failure() }
        }
    }

    /// Whether every process that held the pipe open has ended.
    func ended() async throws -> Bool {
        try await OwnThread.run("ended") { [self] in
            var bytes = [UInt8](repeating: 0, count: 256)
            while waits() {
                let count = Foundation.read(descriptor, &bytes, bytes.count)
                if count == 0 { return true }
                if count < 0 { return false }
            }
            return false
        }
    }

    private func waits() -> Bool {
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return Foundation.poll(&poll, 1, Self.patience) == 1
    }
}

/// A deadline that comes when the processes under test say that they run.
struct ReadyClock: WallClock {
    let pipe: ReadyPipe
    var now: Date { Date(timeIntervalSince1970: 0) }
    func sleep(for duration: Duration) async throws { try await pipe.ready() }
}

/// A deadline that never comes; waits until it is cancelled.
struct PatientClock: WallClock {
    var now: Date { Date(timeIntervalSince1970: 0) }
    func sleep(for duration: Duration) async throws {
        for await _ in AsyncStream<Never>.makeStream().stream {}
        try Task.checkCancellation()
    }
}
