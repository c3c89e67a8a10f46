internal import Backup
internal import DRPKit

/// Takes the client's stack at the target away, with its data: the end of a drill.
package struct DestroyStep: Step {
    package static let kind = "destroy"
    package static let schema: [SettingSpec] = []
    package static let rule = StepRule(deadline: .seconds(300), retries: 3)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let site = try world.targetSite(context)
        return StepPlan(
            name: context.step, kind: Self.kind, lines: ["the stack at \(site.name) is removed, with its data"])
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        guard case .absent = try await deployer(context).observe(context.client) else { return .notDone }
        let packets = try context.notes["packets"]?.decode(PacketCount.self)
        if let why = Self.leak(packets) { return .cannotTell(why) }
        return .done(try Self.outcome(packets))
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        let place = try await world.place(client)
        guard try context.mode == .drill || world.targetSite(context).name != place.site else {
            throw StepError(context, .refused, "\(client.id) lives at \(place.site): its stack is not taken away")
        }
        let deployer = try deployer(context)
        var packets = try context.notes["packets"]?.decode(PacketCount.self)
        if packets == nil, context.mode == .drill, let counted = try await deployer.packets(of: client.id) {
            // Kept first: with the networks, the counters go.
            try await context.note("packets", try JSONValue(encoding: counted))
            packets = counted
        }
        try await deployer.remove(client.id, owner: try world.writerKeys(client).client)
        Failpoint.hit("destroy.removed")
        if let why = Self.leak(packets) { throw StepError(context, .refused, why) }
        return try Self.outcome(packets)
    }

    private static func leak(_ packets: PacketCount?) -> String? {
        guard let packets, packets.left + packets.toHost > 0 else { return nil }
        return
            "\(packets.left) packets left the drill's networks, and \(packets.toHost) went to the host: they must be cut off from everything"
    }

    private static func outcome(_ packets: PacketCount?) throws -> StepOutcome {
        guard let packets else { return ["removed": true] }
        return ["removed": true, "packets": try JSONValue(encoding: packets)]
    }

    /// What is gone stays gone: it was made by this run alone.
    package func undo(_ context: StepContext) async throws {}

    private func deployer(_ context: StepContext) throws -> any Deployer {
        try world.deployer(try world.targetSite(context), context.mode)
    }
}
