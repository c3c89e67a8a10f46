internal import Backup
internal import DRPKit
internal import Foundation

/// Asks the client's API where DNS now leads, and goes on asking for a while: the end of the RTO's clock is its first good answer.
package struct ProbeStep: Step {
    package static let kind = "probe"
    package static let schema = [
        SettingSpec("for", .duration, .optional, about: "How long it must answer without a miss; 5s without this.")
    ]
    package static let rule = StepRule(deadline: .seconds(120), retries: 2)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let client = try world.client(context)
        let (scheme, port) = try way(context, client)
        let lines = client.domains.map { "GET \(scheme.text)://\($0):\(port ?? 80)/ must answer as \(client.id)" }
        return StepPlan(name: context.step, kind: Self.kind, lines: lines.isEmpty ? ["no domains"] : lines)
    }

    package func observe(_ context: StepContext) async throws -> Observation { seen(context) }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        let (scheme, port) = try way(context, client)
        guard let domain = client.domains.first, let port else { return [:] }
        let check = HTTPCheck(world.http)
        let address = try await address(context, domain)
        let deployment = try world.deployment(context)
        // A drill's edge is published nowhere: drp comes to it as it comes to the databases.
        let edge = context.mode == .drill ? deployment.inside?.edge : nil
        let way = world.reach.way(into: deployment.site)
        @Sendable func ask() async throws -> HTTPCheck.Outcome {
            var socket: String?
            if let edge { socket = try await way?(edge) }
            return try await check.run(
                scheme, domain: domain, port: edge?.port ?? port, address: edge?.host ?? address, socket: socket,
                client: client.id, deadline: .seconds(5))
        }
        let first = try await firstAnswer(context, ask)
        let serving = world.clock.now
        // A second attempt must not move the moment from which the client was served.
        if context.notes["serving"] == nil { try await context.note("serving", .text(JournalDate.text(serving))) }
        let end = serving.addingTimeInterval(seconds(context.settings.duration("for") ?? .seconds(5)))
        var asked: Int64 = 1
        while world.clock.now < end {
            try await world.clock.sleep(for: .milliseconds(500))
            _ = try await ask()
            asked += 1
        }
        return [
            "serving": context.notes["serving"] ?? .text(JournalDate.text(serving)), "asked": .integer(asked),
            "url": .text(first.url), "address": .text(first.address), "status": .integer(Int64(first.status)),
            "body": .text(first.body),
        ]
    }

    package func undo(_ context: StepContext) async throws {}

    /// A stack of containers is asked as everybody asks it: at its edge, by HTTPS. A drill's API has a port of its own.
    private func way(_ context: StepContext, _ client: Client) throws -> (HTTPCheck.Scheme, Int?) {
        guard client.services.api != nil else { return (.http, nil) }
        if try world.targetSite(context).docker != nil { return (.https(caFile: client.certificate?.ca), 443) }
        return (.http, context.mode == .drill ? try world.deployment(context).ports.api : client.services.api?.port)
    }

    /// What a client's browser would be told: asked of the zone's server, not taken from the fleet file.
    private func address(_ context: StepContext, _ domain: String) async throws -> String {
        // In a drill no record leads there: the deployment says where it is.
        if context.mode == .drill { return try world.deployment(context).address }
        let record = try await world.requireTraffic(context).records.read(domain)
        guard let address = record.addresses.first else {
            throw StepError(context, .refused, "\(domain) has no address")
        }
        return address
    }

    /// An API may need a moment with its new data; what it says last is the error.
    private func firstAnswer(
        _ context: StepContext, _ ask: @Sendable () async throws -> HTTPCheck.Outcome
    ) async throws -> HTTPCheck.Outcome {
        while true {
            do { return try await ask() } catch let error as any DRPError {
                let left = context.deadline.timeIntervalSince(world.clock.now)
                guard left > 10 else { throw error }
                try await world.clock.sleep(for: .milliseconds(250))
            }
        }
    }

    private func seconds(_ duration: Duration) -> TimeInterval { TimeInterval(duration.components.seconds) }
}
