import DRPKit
import Foundation
import Glibc
import Synchronization

/// Reads the command lines and environments of every process of a world, again and again, as anybody on the machine could.
final class ProcessSampler: Sendable {
    private struct State {
        var seen: Set<Data> = []
        var programs: Set<String> = []
        var isStopped = false
        var rounds = 0
    }

    private let state = Mutex(State())

    init(folder: String) {
        let thread = Thread { [self] in
            while !state.withLock({ $0.isStopped }) {
                for pid in DemoWorld.processes(inside: folder) { read(pid) }
                state.withLock { $0.rounds += 1 }
                usleep(5000)
            }
        }
        thread.start()
    }

    private func read(_ pid: pid_t) {
        for file in ["cmdline", "environ"] {
            // It may have ended meanwhile.
            guard let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/\(file)"), !bytes.isEmpty else {
                continue
            }
            state.withLock { state in
                guard state.seen.insert(bytes).inserted, file == "cmdline" else { return }
                let program = bytes.prefix { $0 != 0 }
                state.programs.insert((String(decoding: program, as: UTF8.self) as NSString).lastPathComponent)
            }
        }
    }

    /// Names of the programs that were seen.
    var programs: Set<String> { state.withLock { $0.programs } }

    /// Waits until every process that runs now has been read.
    func finishRound() async throws {
        try await OwnThread.run("test-sampler") { [self] in
            let begun = state.withLock { $0.rounds }
            while state.withLock({ $0.rounds }) < begun + 2 { usleep(2000) }
        }
    }

    /// - Returns: what was seen, with NUL as space, of every command line and environment that holds the text.
    func sightings(of text: String) -> [String] {
        state.withLock { state in
            state.seen.filter { $0.range(of: Data(text.utf8)) != nil }.map {
                String(decoding: $0.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
            }
        }
    }

    func stop() { state.withLock { $0.isStopped = true } }
}
