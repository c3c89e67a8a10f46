internal import ArgumentParser
internal import DRPKit
internal import Foundation
internal import Migrate

/// Runs at a site's host, without fleet file and journal.
struct GuardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "guard",
        abstract: "At a site's host: start the clients that live there, and keep those stopped that have moved.",
        discussion: """
            Examples:
              drp guard --site par-dc3 --dns 10.0.0.53 --dns 10.1.0.53
              drp guard --site par-dc3 --dns 10.0.0.53 --every 30s

            After a boot no container starts by itself. Each client's owner record, a TXT record in DNS, says at which site it lives:
            more than half of the authorities must answer. What cannot be told is left as it is, and the exit status is 75.
            """)

    @Option(name: .long, help: ArgumentHelp("The site that this host is of.", valueName: "site"))
    var site: SiteName

    @Option(
        name: .long, help: ArgumentHelp("An authority of the clients' zone; once for each.", valueName: "host:port"))
    var dns: [String]

    @Option(name: .long, help: ArgumentHelp("The Docker engine's socket.", valueName: "path"))
    var socket = "/run/docker.sock"

    @Option(name: .long, help: ArgumentHelp("Go on, and look again after each such time.", valueName: "duration"))
    var every: String?

    @Flag(name: .long, help: "Print JSON instead of text.")
    var json = false

    func validate() throws {
        for text in dns where DNSServer(text) == nil { throw ValidationError("--dns '\(text)' is no host:port.") }
        if dns.isEmpty { throw ValidationError("Give --dns at least once.") }
        if let every, pause(every) == nil { throw ValidationError("--every takes a duration from 1s, as 30s or 5m.") }
    }

    private func pause(_ text: String) -> Duration? {
        DurationText.parse(text).flatMap { $0 >= .seconds(1) ? $0 : nil }
    }

    func run() async throws {
        let clock = SystemClock()
        let engine = DockerEngine(http: CurlClient()) { [socket] in socket }
        let hostGuard = HostGuard(
            site: site, engine: engine, authorities: dns.compactMap { DNSServer($0) }, clock: clock)
        guard let every, let pause = pause(every) else {
            let answer = GuardAnswer(clients: try await hostGuard.run())
            try Output.answer(answer, json: json)
            if answer.clients.contains(where: { $0.verdict == .unknown }) { throw ExitStatus(.busy) }
            return
        }
        var last: [HostGuard.Decision] = []
        while true {
            do {
                let now = try await hostGuard.run()
                // Only what is new: this goes to a log for months.
                let news = now.filter { !last.contains($0) || !$0.changed.isEmpty }
                if !news.isEmpty { try Output.answer(GuardAnswer(clients: news), json: json) }
                last = now
            } catch let error as DockerError {
                Output.error(error, json: json)
            }
            try await clock.sleep(for: pause)
        }
    }
}

struct GuardAnswer: Answer {
    var clients: [HostGuard.Decision]

    var text: String {
        if clients.isEmpty { return "no client's containers are on this host" }
        let rows = clients.map { decision in
            [
                decision.client, decision.verdict.rawValue,
                decision.changed.isEmpty ? "-" : decision.changed.joined(separator: " "), decision.because,
            ]
        }
        return Text.table([["CLIENT", "VERDICT", "CHANGED", "BECAUSE"]] + rows)
    }
}
