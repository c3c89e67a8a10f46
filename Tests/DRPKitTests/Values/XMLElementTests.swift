import Testing

@testable import DRPKit

@Suite("XML of servers")
struct XMLElementTests {
    @Test("what is no XML, or deep as a bomb, is nothing")
    func hostileXML() {
        #expect(XMLElement.parse(Array("<a><b>1</b><b>2</b></a>".utf8))?.all("b").map(\.text) == ["1", "2"])
        #expect(XMLElement.parse([]) == nil)
        #expect(XMLElement.parse(Array("<a><b></a>".utf8)) == nil)
        let deep = String(repeating: "<a>", count: 100) + String(repeating: "</a>", count: 100)
        #expect(XMLElement.parse(Array(deep.utf8)) == nil)
        let laughs = """
            <!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>
            <a>&d;</a>
            """
        #expect((XMLElement.parse(Array(laughs.utf8))?.text.utf8.count ?? 0) < 1000)
    }
}
