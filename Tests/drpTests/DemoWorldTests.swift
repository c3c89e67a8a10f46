import Foundation
import Testing

@Suite(
    "The world of these tests", .serialized,
    .enabled(if: DemoWorld.isPossible || DemoWorld.isRequired, DemoWorld.missing))
struct DemoWorldTests {
    @Test("a world begins whole and leaves nothing behind")
    func beginsAndEnds() async throws {
        var folder = ""
        try await DemoWorld.run { world in
            folder = world.folder
            let check = try await world.drp("check", "--json")
            #expect(check.status == 0, "\(check.stdout)\(check.stderr)")
            #expect(try await world.answer(of: "acme")?["orders"] != nil)
            #expect(try await world.addresses(of: "acme") == [world.north])
        }
        #expect(DemoWorld.processes(inside: folder).isEmpty)
        #expect(!FileManager.default.fileExists(atPath: folder))
    }
}
