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
        if let why = try unproven(context, context.notes["packets"]) { return .cannotTell(why) }
        let packets = try context.notes["packets"]?.decode(PacketCount.self)
        return .done(try Self.outcome(packets))
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        let place = try await world.place(client)
        guard try context.mode == .drill || world.targetSite(context).name != place.site else {
            throw StepError(context, .refused, "\(client.id) lives at \(place.site): its stack is not taken away")
        }
        let deployer = try deployer(context)
        var note = context.notes["packets"]
        if note == nil, context.mode == .drill {
            // Kept first: with the networks, the counters go. What cannot be counted is no reason to leave the stack there.
            do { note = try await deployer.packets(of: client.id).map { try JSONValue(encoding: $0) } } catch {
                note = .text(Fault(error).text)
            }
            if let note { try await context.note("packets", note) }
        }
        try await deployer.remove(client.id, owner: try world.writerKeys(client).client)
        Failpoint.hit("destroy.removed")
        if let why = try unproven(context, note) { throw StepError(context, .refused, why) }
        return try Self.outcome(try note?.decode(PacketCount.self))
    }

    /// Why a drill is no success: packets that left, or nobody who has counted them.
    private func unproven(_ context: StepContext, _ note: JSONValue?) throws -> String? {
        guard context.mode == .drill, try world.targetSite(context).docker != nil else { return nil }
        guard let note, note.text == nil else {
            return "what left the drill's networks was not counted: \(note?.text ?? "the stack was gone before")"
        }
        let packets = try note.decode(PacketCount.self)
        guard packets.left + packets.toHost > 0 else { return nil }
        return "\(packets.left) packets left the drill's networks, and \(packets.toHost) went to the host: "
            + "they must be cut off from everything"
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
