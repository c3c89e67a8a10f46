import DRPKit
import Foundation
import Synchronization

@testable import Migrate

/// Time that passes only when someone sleeps.
final class SleepingClock: WallClock {
    private let time = Mutex(TSIGTests.time)
    var now: Date { time.withLock { $0 } }

    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        time.withLock { $0.addTimeInterval(duration / .seconds(1)) }
        await Task.yield()
    }
}

/// A primary server in memory: one zone, prerequisites as in RFC 2136 3.2, signatures, and answers that get lost.
final class FakePrimary: DNSExchange {
    enum Loss: Sendable {
        case request
        case answer
    }

    struct State {
        var records: [DNSRecord] = []
        var updates = 0
        /// What happens to the next updates, first one first.
        var losses: [Loss] = []
        /// Done once, before the next update is looked at: someone else was faster.
        var intruder: [DNSRecord]?
    }

    let state: Mutex<State>
    private let key: TSIGKey

    init(_ records: [DNSRecord], key: TSIGKey = TSIGTests.key) {
        state = Mutex(State(records: records))
        self.key = key
    }

    var records: [DNSRecord] { state.withLock { $0.records } }
    var updates: Int { state.withLock { $0.updates } }

    func exchange(_ bytes: [UInt8]) async throws -> [UInt8] {
        let signed = try DNSMessage.decode(bytes).message
        guard let last = signed.additionals.last, case .other(let data) = last.data else {
            return answer(to: signed, .noError, state.withLock { $0.records }).wire
        }
        let mac = try TSIG.Content.decode(data).mac
        let request = try TSIG.verify(bytes, with: key, at: TSIGTests.time, answering: nil)
        let loss = state.withLock { state in
            request.operation == 5 && !state.losses.isEmpty ? state.losses.removeFirst() : nil
        }
        let lost = TrafficError(.unreachable, "fake", "the answer is lost")
        if loss == .request { throw lost }
        let reply = state.withLock { state in
            guard request.operation == 5 else { return answer(to: request, .noError, state.records) }
            if let intruder = state.intruder {
                state.records = intruder
                state.intruder = nil
            }
            state.updates += 1
            return answer(to: request, update(request, &state.records), [])
        }
        if loss == .answer { throw lost }
        return TSIG.sign(reply, with: key, at: TSIGTests.time, answering: mac).wire
    }

    private func answer(to request: DNSMessage, _ code: DNSCode, _ records: [DNSRecord]) -> DNSMessage {
        var reply = request
        reply.flags |= 0x8400 | code.rawValue
        reply.answers = []
        reply.authorities = []
        reply.additionals = []
        if request.operation == 0, let question = request.questions.first {
            reply.answers = records.filter { $0.name == question.name && $0.type == question.type }
        }
        return reply
    }

    private func update(_ request: DNSMessage, _ records: inout [DNSRecord]) -> DNSCode {
        func set(_ name: DNSName, _ type: DNSType) -> Set<DNSData> {
            Set(records.filter { $0.name == name && $0.type == type }.map(\.data))
        }
        var exact: [String: (DNSName, DNSType, Set<DNSData>)] = [:]
        for prerequisite in request.answers {
            switch prerequisite.class {
            case .none where !set(prerequisite.name, prerequisite.type).isEmpty: return .setExists
            case .internet:
                let key = "\(prerequisite.name) \(prerequisite.type)"
                exact[key, default: (prerequisite.name, prerequisite.type, [])].2.insert(prerequisite.data)
            default: break
            }
        }
        for (name, type, data) in exact.values where set(name, type) != data { return .setMissing }
        for change in request.authorities {
            if change.class == .any {
                records.removeAll { $0.name == change.name && $0.type == change.type }
            } else {
                records.append(change)
            }
        }
        return .noError
    }
}

/// Always the same end.
struct FailingExchange: DNSExchange {
    var error: TrafficError
    func exchange(_ message: [UInt8]) async throws -> [UInt8] { throw error }
}
