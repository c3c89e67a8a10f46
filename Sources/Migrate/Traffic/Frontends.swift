package import DRPKit
internal import Foundation

/// What one frontend of a site does for a client.
package struct FrontendAnswer: Hashable, Sendable, Codable {
    /// What DNS gets.
    package var address: String
    /// Of its runtime API, `host:port`.
    package var runtime: String
    /// Where it leads the client's requests; nil if it does not.
    package var leadsTo: HostPort?
    /// Why it does not.
    package var problem: String?

    package var leads: Bool { leadsTo != nil }

    /// For an operator; nil if it leads.
    package var complaint: String? {
        problem.map { "frontend \(address) is left out: \($0)" }
    }
}

/// The frontends of a site: HAProxies that share all of its clients. Each has a backend named as the client, with one server
/// `api`, which is led to where the client's API listens.
package struct Frontends: Sendable {
    package static let server = "api"

    private let frontends: [(address: String, runtime: HAProxyRuntime)]
    private let clock: any WallClock
    private let patience: Duration

    /// - Parameters:
    ///   - way: Leads into the site; nil where its addresses are reached as they are.
    ///   - patience: How long a frontend gets to find the API up.
    /// - Returns: nil for a site whose frontends have no runtime API: they are no HAProxies of ours.
    package init?(
        of site: Site, way: SiteReach.Way?, clock: any WallClock, patience: Duration = .seconds(20)
    ) {
        let known = site.frontends.compactMap { frontend in
            frontend.runtime.map { (frontend.address, HAProxyRuntime($0, way: way)) }
        }
        guard !known.isEmpty else { return nil }
        frontends = known
        self.clock = clock
        self.patience = patience
    }

    /// Asks each where it leads the client.
    /// - Returns: One answer a frontend, in the site's order.
    /// - Throws: `CancellationError`; a frontend that is dead is an answer.
    package func look(_ client: ClientID) async throws -> [FrontendAnswer] {
        try await each { address, runtime in try await look(address, runtime, client, at: nil) }
    }

    /// Leads the client to `target` on each, and follows until each finds it up. One that leads there already is left alone.
    /// - Throws: `CancellationError`; a frontend that is dead, knows no such client, or finds nothing there, is an answer.
    package func lead(_ client: ClientID, to target: HostPort) async throws -> [FrontendAnswer] {
        let end = clock.now.addingTimeInterval(patience / .seconds(1))
        return try await each { address, runtime in
            var answer = try await look(address, runtime, client, at: target)
            if answer.leads { return answer }
            try await runtime.lead(Self.server, of: client.text, to: target)
            while true {
                answer = try await look(address, runtime, client, at: target)
                if answer.leads || clock.now >= end { return answer }
                try await clock.sleep(for: .milliseconds(200))
            }
        }
    }

    /// Leads the client to where those that lead it lead it: one that was down meanwhile, and began anew without knowing it, comes
    /// back.
    /// - Throws: `.refused` if they lead to different places.
    package func agree(_ client: ClientID) async throws -> [FrontendAnswer] {
        let answers = try await look(client)
        let places = Set(answers.compactMap(\.leadsTo))
        guard let place = places.first else { return answers }
        guard places.count == 1 else {
            let shown = answers.compactMap { answer in answer.leadsTo.map { "\(answer.address) to \($0)" } }
            throw TrafficError(
                .refused(advice: "Find out which of them is right, and correct the others by HAProxy's runtime API."),
                client.text, "the frontends lead to different places: \(shown.joined(separator: ", "))")
        }
        return try await lead(client, to: place)
    }

    /// Takes the client out of service on each that can be asked.
    package func withdraw(_ client: ClientID) async throws -> [FrontendAnswer] {
        try await each { address, runtime in
            try await runtime.withdraw(Self.server, of: client.text)
            return try await look(address, runtime, client, at: nil)
        }
    }

    /// - Returns: The addresses of those that lead, sorted.
    /// - Throws: `.refused` if none does, naming why.
    package static func leading(_ answers: [FrontendAnswer], _ client: ClientID) throws(TrafficError) -> [String] {
        let addresses = answers.filter(\.leads).map(\.address).sorted()
        guard !addresses.isEmpty else {
            throw TrafficError(
                .refused(advice: "Start a frontend of the site, or correct its backend \(client); then run again."),
                client.text, "no frontend leads to it (\(answers.compactMap(\.complaint).joined(separator: "; ")))")
        }
        return addresses
    }

    private func look(
        _ address: String, _ runtime: HAProxyRuntime, _ client: ClientID, at target: HostPort?
    ) async throws -> FrontendAnswer {
        var answer = FrontendAnswer(address: address, runtime: "\(runtime.place)")
        let found = try await runtime.servers(of: client.text).first { $0.name == Self.server }
        switch found {
        case nil: answer.problem = "its backend \(client) has no server '\(Self.server)'"
        case let found? where target != nil && found.place != target:
            answer.problem = "it leads to \(found.place)"
        case let found? where found.isWithdrawn: answer.problem = "its server for \(client) is out of service"
        case let found? where !found.isUp: answer.problem = "it finds nothing up at \(found.place)"
        case let found?: answer.leadsTo = found.place
        }
        return answer
    }

    private func each(
        _ act: @escaping @Sendable (String, HAProxyRuntime) async throws -> FrontendAnswer
    ) async throws -> [FrontendAnswer] {
        try await withThrowingTaskGroup(of: (Int, FrontendAnswer).self) { group in
            for (index, frontend) in frontends.enumerated() {
                group.addTask {
                    do { return (index, try await act(frontend.address, frontend.runtime)) } catch let error
                        as any DRPError
                    {
                        let runtime = "\(frontend.runtime.place)"
                        return (
                            index,
                            FrontendAnswer(address: frontend.address, runtime: runtime, problem: error.message)
                        )
                    }
                }
            }
            var answers: [Int: FrontendAnswer] = [:]
            for try await (index, answer) in group { answers[index] = answer }
            return answers.sorted { $0.key < $1.key }.map(\.value)
        }
    }
}
