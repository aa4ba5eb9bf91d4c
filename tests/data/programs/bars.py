# packages: python3-plotly
# result: true
import plotly.express as px

px.bar(x=["a", "b"], y=[1, 2]).write_html("bars.html")
return "plotly" in open("bars.html").read()
