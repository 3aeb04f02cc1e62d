// Microsoft's own parser of the Kusto query language, asked about queries: reads {tables, queries} from stdin, with each
// table's columns, and prints what is wrong with each query, and the columns of its result.
const home = process.argv[2] + '/@kusto/language-service-next/';
require(home + 'bridge.min.js');
require(home + 'Kusto.Language.Bridge.min.js');
const { KustoCode, GlobalState, Symbols } = Kusto.Language;
const { tables, queries } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const symbols = Object.entries(tables).map(([name, columns]) => new Symbols.TableSymbol.$ctor7(name, `(${columns})`, null));
const database = new Symbols.DatabaseSymbol.ctor('log', System.Array.init(symbols, Symbols.Symbol));
const globals = GlobalState.Default.WithDatabase(database);
const found = {};
for (const [name, text] of Object.entries(queries)) {
  const code = KustoCode.ParseAndAnalyze(text, globals);
  const columns = code.ResultType && code.ResultType.Columns ? Bridge.toArray(code.ResultType.Columns) : [];
  found[name] = {
    problems: Bridge.toArray(code.GetDiagnostics()).map((one) => one.Message),
    columns: Object.fromEntries(columns.map((column) => [column.Name, column.Type.Name])),
  };
}
process.stdout.write(JSON.stringify(found));
