import DRPKit
import Foundation
import Testing

@Suite(
    "Clocks that differ", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct ClockTests {
    @Test("prune refuses by name and touches nothing when its clock is more than five minutes from the store's")
    func prune() async throws {
        let world = try DemoWorld.current
        try world.keepTwo()
        for _ in 0..<4 {
            try await world.change()
            try await world.backUp()
        }
        let marked = try await world.drp(DemoWorld.prune)
        #expect(marked.status == 0 && marked.stdout.contains("marked 2 backups"), "\(marked.stdout)\(marked.stderr)")
        let stored = DemoWorld.files(below: world.store)
        let (minute, hour, day) = (60, 3600, 86_400)
        let shifts = [90 * minute, -195 * minute, 2 * day, -7 * hour, 11 * minute, 42 * day, -13 * hour, 302, -302]
        for shift in shifts {
            let ended = try await self.prune(world, shift)
            expectError(ended, status: 1, code: .clocksDiffer, naming: ["acme", "clock"])
            #expect(DemoWorld.files(below: world.store) == stored, "shifted by \(shift) s")
            try await world.expectJournalAtRest()
        }
        try await world.expectWhole()
        print("prune: refused with \(shifts.count) shifts of its clock")
        // Within the tolerance it works, whichever way.
        let before = try await world.backups()
        let early = try await self.prune(world, -290)
        #expect(early.status == 0, "\(early.stdout)\(early.stderr)")
        #expect(try await world.backups().listed == before.listed.suffix(2))
        try await world.change()
        try await world.backUp()
        let late = try await self.prune(world, 290)
        #expect(late.status == 0, "\(late.stdout)\(late.stderr)")
        try await world.expectWhole()
        #expect(try await world.drp("events", "verify").status == 0)
    }

    private func prune(_ world: DemoWorld, _ shift: Int) async throws -> Ended {
        let file = "\(world.folder)/clock"
        try "\(shift)\n".write(toFile: file, atomically: true, encoding: .utf8)
        return try await world.drp(
            DemoWorld.prune,
            environment: ["LD_PRELOAD": try await world.sharedObject("shift_clock"), "SHIFT_FILE": file])
    }
}
